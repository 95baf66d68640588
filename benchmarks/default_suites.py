"""Comparison of suites on ordinary networks: unreliable results, costs and differences.

    python benchmarks/default_suites.py --data npz:cifar10.npz npz:gtsrb.npz npz:mnist.npz --record

Claim: `standard`, the default of every command, calls none of these networks unreliable, and leaves fewer
images than the other suites. Small CNNs, each trained plainly, by PGD-5 (Madry) and by TRADES at a short
budget, are evaluated at every eps by PGD-50 on two losses (`pgd`), by `quick` and by `standard`. A line
holds, for each suite, the count of unbroken images at the end and after each attempt, passes per image, the
trust checks that fired, and the images that the closing attempts broke. Lines on record for the same commit
and setting are not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch

from benchmarks.peering import provenance
from benchmarks.peering.networks import Subject
from benchmarks.peering.trained import OBJECTIVES, Place, data_named, trained
from harden.evaluation import Attempt, Evaluation, evaluate, pgd_suite, quick, standard
from harden.evaluation.trust.closing_attempts import RESERVED
from harden.statistics import Proportion
from harden.threats import Linf

RECORD = provenance.RESULTS / "default_suites.jsonl"


SUITES: dict[str, Callable[[], tuple[Attempt, ...]]] = {
    "pgd": pgd_suite,
    "quick": quick,
    "standard": standard,
}
BUDGETS = {"plain": "8E", "robust": "30E", "trades": "45E"}


def main(words: list[str] | None = None) -> int:
    """Measure, print a line for each network and eps, and the comparison of the suites at the end."""
    given = parsed(words)
    torch.set_num_threads(1)
    lines = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for data in given.data:
            for training in given.trainings:
                lines += of_network(data, training, seed, given)
    for text in compared(lines, given.suites):
        print(text)
    return 0


def parsed(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", nargs="+", default=["digits"], help="digits, npz:FILE")
    parser.add_argument("--trainings", nargs="+", choices=tuple(OBJECTIVES), default=list(OBJECTIVES))
    parser.add_argument("--train-eps", default="8/255", help="of PGD-5 and TRADES")
    parser.add_argument("--eps", nargs="+", default=["2/255", "4/255", "8/255"])
    parser.add_argument("--suites", nargs="+", choices=tuple(SUITES), default=list(SUITES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--training-images", type=int, default=4_000)
    parser.add_argument("--record", action="store_true", help="add lines to results/default_suites.jsonl")
    parser.add_argument("--toy", action="store_true", help="few images: does it run at all?")
    return parser.parse_args(words)


def of_network(data: str, training: str, seed: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Train a network, where a line of it is missing, and evaluate it at every eps."""
    lines: list[dict[str, Any]] = []
    subject: Subject | None = None
    budget = "7E" if given.toy else BUDGETS[training]
    sizes = (12, 64) if given.toy else (given.images, given.training_images)
    with Place(None, budget, sizes[0], sizes[1], seed=seed) as place:
        for eps in given.eps:
            setting = _setting(data, training, eps, seed, budget, given)
            line = _known(setting, given)
            if line is None:
                if subject is None:
                    subject = trained(
                        data_named(data, as_cifar=False), training, float(Linf(given.train_eps).eps), place
                    )[0]
                line = {**setting, **measured(subject, Linf(eps), seed, given.suites)}
                if given.record:
                    provenance.append(RECORD, {**provenance.origin(), **line})
            print(json.dumps(line), flush=True)
            lines.append(line)
    return lines


def measured(subject: Subject, threat: Linf, seed: int, suites: Iterable[str]) -> dict[str, Any]:
    """Evaluate a network by each suite."""
    found: dict[str, Evaluation] = {
        name: evaluate(subject.ours, (subject.x, subject.y), threat, SUITES[name](), seed=seed)
        for name in suites
    }
    n = len(subject.x)
    return {
        "n": n,
        "clean": next(iter(found.values())).clean.count,
        "suites": {name: _told(one, n) for name, one in found.items()},
    }


def _told(found: Evaluation, n: int) -> dict[str, Any]:
    return {
        "status": found.status,
        "robust": found.robust.count,
        "interval": found.robust.interval,
        "passes_per_image": round(found.passes / n, 1),
        "fired": {check.name: round(check.value, 4) for check in found.checks if not check.passed},
        "after": {record.name: record.robust.count for record in found.attempts},
        "spent": {record.name: round(record.passes / n, 1) for record in found.attempts},
        "closing": {record.name: record.broken for record in found.attempts if record.name in RESERVED},
    }


def compared(lines: list[dict[str, Any]], suites: Iterable[str]) -> list[str]:
    """A line for each suite: how many were called unreliable, passes per image, points above the lowest."""
    said = []
    for name in suites:
        each = [line["suites"][name] for line in lines]
        flagged = Proportion(sum(one["status"] != "ok" for one in each), len(each))
        passes = sum(one["passes_per_image"] for one in each) / len(each)
        above = [100 * (line["suites"][name]["robust"] - _lowest(line)) / line["n"] for line in lines]
        said.append(
            f"{name:10} unreliable {flagged.count} of {flagged.n}, {flagged}; "
            f"{passes:,.0f} passes per image; "
            f"robust accuracy above the lowest by {sum(above) / len(above):.2f} points, "
            f"at most {max(above):.2f}"
        )
    return said


def _lowest(line: dict[str, Any]) -> int:
    return min(int(one["robust"]) for one in line["suites"].values())


def _setting(
    data: str, training: str, eps: str, seed: int, budget: str, given: argparse.Namespace
) -> dict[str, Any]:
    return {
        "data": data.rpartition("/")[2].removesuffix(".npz") if data.startswith("npz:") else data,
        "training": training,
        "train_eps": None if training == "plain" else given.train_eps,
        "budget": budget,
        "training_images": given.training_images,
        "eps": eps,
        "seed": seed,
        "images": given.images,
        "compared": list(given.suites),
        "commit": provenance.commit(),
    }


def _known(setting: dict[str, Any], given: argparse.Namespace) -> dict[str, Any] | None:
    lines = provenance.recorded(RECORD) if given.record else []
    return next((line for line in lines if setting.items() <= line.items()), None)


if __name__ == "__main__":
    sys.exit(main())
