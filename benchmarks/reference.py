"""Comparison of harden's `standard` suite and AutoAttack on the same images, example by example.

    python benchmarks/reference.py --autoattack CHECKOUT --data digits npz:mnist.npz --cache weights --record
    python benchmarks/reference.py --autoattack CHECKOUT --data --wong wong_mnist.pth npz:mnist.npz
    python benchmarks/reference.py --bfloat16 --data npz:mnist.npz --kinds robust --images 700 --record

Claim: none; it measures. With --bfloat16 also the images that `standard` leaves unbroken where a bfloat16
copy gives all gradients but those of the margin: errors are hidden where it leaves more than float32.
For each data set a small CNN trained plainly and one trained adversarially, in L-inf and L2 (L1 on request),
each at an eps that a PGD-10 leaves a share of: hardly anything to the first, half to the second. Times are of
whole evaluations, one after the other in this process. A disagreement is an image that one of the two broke
and the other did not, named by its position; the float32 network judges both.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import Tensor

from benchmarks.peering import cases, provenance
from benchmarks.peering.cases import Case
from benchmarks.peering.networks import Subject
from benchmarks.peering.trained import Place, missed
from harden.evaluation import Attempt, Evaluation, evaluate, standard
from harden.models import frozen
from harden.threats import Threat

RECORD = provenance.RESULTS / "reference.jsonl"
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def parsed(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--autoattack", type=Path, help="a checkout of fra31/auto-attack; without it ours alone"
    )
    parser.add_argument("--data", nargs="*", default=["digits"], help="digits, npz:FILE")
    parser.add_argument("--norms", nargs="+", choices=tuple(NORMS), default=["linf", "l2"])
    parser.add_argument("--kinds", nargs="+", choices=("plain", "robust"), default=["plain", "robust"])
    parser.add_argument(
        "--wong", nargs=2, metavar=("FILE", "DATA"), help="the network of Wong & Kolter, L-inf 0.1"
    )
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--training-images", type=int, default=10_000)
    parser.add_argument("--train-for", default="90s", help="budget of each training")
    parser.add_argument("--bfloat16", action="store_true", help="evaluate also with gradients in bfloat16")
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="folder of trained weights; a temporary one otherwise")
    parser.add_argument("--json", type=Path, help="where the result goes")
    parser.add_argument("--record", action="store_true", help="add lines to results/reference.jsonl")
    parser.add_argument("--toy", action="store_true", help="few images: does it run at all?")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Measure, print, write."""
    given = parsed(words)
    torch.set_num_threads(given.threads)
    sizes = (12, 64) if given.toy else (given.images, given.training_images)
    told = {
        "threads": given.threads,
        **provenance.origin(given.autoattack),
    }
    found = []
    with Place(given.cache, "7E" if given.toy else given.train_for, *sizes) as place:
        for case in cases.of(given.data, given.kinds, given.norms, place, given.wong):
            line = compared(case, given)
            found.append(line)
            print(json.dumps(line, sort_keys=True), flush=True)
            if given.record:
                provenance.append(RECORD, {**line, **told})
    if given.json is not None:
        given.json.write_text(json.dumps({**told, "cases": found}, indent=1, sort_keys=True) + "\n")
    return 0


def compared(case: Case, given: argparse.Namespace) -> dict[str, Any]:
    """Both evaluations of one case."""
    subject, threat = case.subject, case.threat
    start = time.perf_counter()
    ours = evaluate(subject.ours, (subject.x, subject.y), threat, standard(), batch_size=given.batch)
    own = time.perf_counter() - start
    line: dict[str, Any] = {
        **case.described,
        "images": len(subject.x),
        "batch": given.batch,
        "bfloat16": False,
        "ours": {"seconds": round(own, 2), **_told(ours)},
    }
    if given.bfloat16:
        line |= _in_bfloat16(case, ours, given.batch)
    if given.autoattack is None:
        return line
    start = time.perf_counter()
    x_adv = autoattack(subject, threat, given.autoattack, given.batch)
    seconds = time.perf_counter() - start
    theirs = broken_by(subject, threat, x_adv)
    mine = (ours.broken | ~ours.clean_correct).cpu()
    return {
        **line,
        "theirs": {"seconds": round(seconds, 2), "robust": round(1 - float(theirs.float().mean()), 4)},
        "difference_in_points": round(100 * float(theirs.float().mean() - mine.float().mean()), 2),
        "seconds_ratio": round(own / seconds, 3),
        "only_ours_broke": (mine & ~theirs).nonzero().flatten().tolist(),
        "only_theirs_broke": (theirs & ~mine).nonzero().flatten().tolist(),
    }


def _in_bfloat16(case: Case, exact: Evaluation, batch: int) -> dict[str, Any]:
    """Evaluate by `standard` with gradients in bfloat16, compared with float32."""
    suite = tuple(map(lowered, standard()))
    data = (case.subject.x, case.subject.y)
    found = evaluate(case.subject.ours, data, case.threat, suite, batch_size=batch)
    above = 100 * (found.robust.value - exact.robust.value)
    return {"in_bfloat16": _told(found), "bfloat16_above_float32_in_points": round(above, 2)}


def lowered(attempt: Attempt) -> Attempt:
    """The attempt on a bfloat16 copy; the margin, close to an error, stays in float32."""
    return attempt if attempt.name == "apgd-margin" else replace(attempt, precision=torch.bfloat16)


def autoattack(subject: Subject, threat: Threat, checkout: Path, batch: int) -> Tensor:
    """AutoAttack's standard version, used as its documentation says."""
    sys.path.insert(0, str(checkout))
    try:
        module = importlib.import_module("autoattack")
    finally:
        sys.path.remove(str(checkout))
    attack = module.AutoAttack(
        subject.theirs,
        norm=NORMS[threat.name],
        eps=float(threat.eps),
        version="standard",
        verbose=False,
        device="cpu",
    )
    attack.seed = 0
    x_adv: Tensor = attack.run_standard_evaluation(subject.x, subject.y, bs=batch)
    return x_adv.detach()


def broken_by(subject: Subject, threat: Threat, x_adv: Tensor) -> Tensor:
    """The images that the float32 network misclassifies, on x_adv or clean, bool (n,).

    Their ball has a tolerance and ours has none: what they return is accepted as it is, and not projected.
    """
    with frozen(subject.ours):
        parts = range(0, len(x_adv), 256)
        return torch.cat(
            [missed(subject.ours, x_adv[at : at + 256], subject.y[at : at + 256]) for at in parts]
        ).cpu()


def _told(found: Evaluation) -> dict[str, Any]:
    return {
        "clean": found.clean.value,
        "robust": found.robust.value,
        "interval": list(found.robust.interval),
        "status": found.status,
        "fired": [check.name for check in found.checks if not check.passed],
        "passes_per_image": round(found.passes / len(found.labels), 1),
        "broken": {record.name: record.broken for record in found.attempts},
        "attempt_seconds": {record.name: round(record.seconds, 2) for record in found.attempts},
    }


if __name__ == "__main__":
    sys.exit(main())
