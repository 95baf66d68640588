"""Distance from an error of images that Square and FAB broke late, the basis of `standard`'s patience.

    python benchmarks/patience.py --cache weights --wong wong_mnist.pth npz:mnist.npz

Claim: none; it measures. For each network, Square runs 500, 1,000 and 5,000 queries with one schedule: of the
images that only the last broke, the least share of the way from the clean margin to 0 that they had come by
then. FAB takes 10, 20, 30 and 100 steps towards three classes: of the images whose nearest error is within
1.05 eps in the end, the largest distance that they had by then, over the last one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import Tensor

from benchmarks.peering import cases
from benchmarks.peering.cases import Case
from benchmarks.peering.trained import Place
from harden.attacks import FAB, Square
from harden.attacks.targeted import likeliest_others
from harden.draws import Draws
from harden.losses import Margin
from harden.models import frozen, prepare

QUERIES, STEPS, RANKS, NEAR = (500, 1000, 5000), (10, 20, 30, 100), (0, 1, 4), 1.05


def main(words: list[str] | None = None) -> int:
    """Measure and print a line for each network and threat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", nargs="*", default=["digits"])
    parser.add_argument("--norms", nargs="+", default=["linf", "l2"])
    parser.add_argument("--wong", nargs=2, metavar=("FILE", "DATA"))
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--train-for", default="90s")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--toy", action="store_true", help="few images: does it run at all?")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    sizes = (10, 64) if given.toy else (given.images, 10_000)
    with Place(given.cache, "7E" if given.toy else given.train_for, *sizes) as place:
        for case in cases.of(given.data, ["robust"], given.norms, place, given.wong):
            with frozen(case.subject.ours):
                print(json.dumps({**case.described, **square(case), **fab(case)}), flush=True)
    return 0


def square(case: Case) -> dict[str, Any]:
    """The least share of the way that images had come which only 5,000 queries broke."""
    x, y = _right(case)
    loss, draws = Margin(prepare(case.subject.ours, x[:4]), y), Draws(1, torch.arange(len(x)))
    with torch.no_grad():
        clean = loss(x)
        value = {
            count: loss(Square(count, stop_early=True, horizon=QUERIES[-1])(loss, x, case.threat, draws))
            for count in QUERIES
        }
    found: dict[str, Any] = {}
    for count in QUERIES[:-1]:
        late = (value[QUERIES[-1]] > 0) & (value[count] <= 0)
        share = ((value[count] - clean) / -clean)[late]
        found[f"square {count}"] = {
            "late": int(late.sum()),
            "least": _rounded(share.min()) if len(share) else None,
        }
    return found


def fab(case: Case) -> dict[str, Any]:
    """The largest distance, over the last one, of images whose nearest error ends about within eps."""
    x, y = _right(case)
    draws = Draws(0, torch.arange(len(x)))
    with torch.no_grad():
        targets = likeliest_others(case.subject.ours.logits(x), y, 9)
    most, near = dict.fromkeys(STEPS[:-1], 0.0), 0
    for rank in RANKS:
        if rank >= targets.shape[1]:
            continue
        loss = Margin(case.subject.ours.logits, y).aimed(targets[:, rank])
        distance = {steps: FAB(steps=steps).nearest(loss, x, case.threat, draws).distance for steps in STEPS}
        last = distance[STEPS[-1]]
        rows = last <= NEAR * float(case.threat.eps)
        near += int(rows.sum())
        for steps in most:
            if bool(rows.any()):
                most[steps] = max(most[steps], _rounded((distance[steps] / last)[rows].max()))
    return {"fab near": near, **{f"fab {steps}": value for steps, value in most.items()}}


def _right(case: Case) -> tuple[Tensor, Tensor]:
    x, y = case.subject.x, case.subject.y
    with torch.no_grad():
        right = case.subject.ours.logits(x).argmax(1) == y
    return x[right], y[right]


def _rounded(value: Tensor) -> float:
    return round(float(value), 3)


if __name__ == "__main__":
    sys.exit(main())
