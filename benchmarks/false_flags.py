"""Counts trust checks that fire on networks that hide nothing: plain and adversarially trained, seed by seed.

    python benchmarks/false_flags.py --data digits --seeds 20 --record

Claim: at most one evaluation in 120 (20 seeds, plain and hardened, L-inf, L2 and L1) is called unreliable;
the 120 are of 40 networks, and only these are independent.
Each seed has its own initial weights, training and attacks. A network trained plainly is attacked at the eps
that hardly anything is left at, a hardened one at the eps that half is left at. Seeds that are on record for
the same commit, data, suite and budget are not measured again.
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

from benchmarks.peering import cases, provenance
from benchmarks.peering.trained import Place
from harden.evaluation import evaluate, quick, standard

RECORD = provenance.RESULTS / "false_flags.jsonl"
SUITES = {"quick": quick, "standard": standard}


def main(words: list[str] | None = None) -> int:
    """Measure, print a line for each seed, and the count at the end."""
    given = parsed(words)
    torch.set_num_threads(1)
    found = []
    for seed in range(given.seeds):
        line = _known(seed, given) or measured(seed, given)
        found.append(line)
        print(json.dumps(line), flush=True)
    flagged = sum(bool(fired) for line in found for fired in line["fired"].values())
    print(f"{flagged} of {sum(len(line['fired']) for line in found)} evaluations were called unreliable")
    return 0


def parsed(words: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="digits", help="digits, npz:FILE")
    parser.add_argument("--norms", nargs="+", default=["linf", "l2", "l1"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--suite", choices=tuple(SUITES), default="standard")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--train-for", default="30E", help="budget of each training")
    parser.add_argument("--record", action="store_true", help="add lines to results/false_flags.jsonl")
    parser.add_argument("--toy", action="store_true", help="few images: does it run at all?")
    return parser.parse_args(words)


def measured(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train both networks of a seed and evaluate each in every norm: which checks fired."""
    fired, robust = {}, {}
    sizes = (10, 64) if given.toy else (given.images, 10_000)
    budget = "7E" if given.toy else given.train_for
    with Place(None, budget, sizes[0], sizes[1], seed=seed) as place:
        for case in cases.of([given.data], ["plain", "robust"], given.norms, place, None):
            subject, described = case.subject, case.described
            found = evaluate(
                subject.ours, (subject.x, subject.y), case.threat, SUITES[given.suite](), seed=seed
            )
            name = f"{described['training']}, {described['norm']} {described['eps']}"
            fired[name] = [check.name for check in found.checks if not check.passed]
            robust[name] = found.robust.value
    line = {**_named(seed, given), "fired": fired, "robust": robust}
    if given.record:
        provenance.append(RECORD, {**provenance.origin(), **line})
    return line


def _named(seed: int, given: argparse.Namespace) -> dict[str, Any]:
    named = {key: getattr(given, key) for key in ("data", "norms", "suite", "images", "train_for")}
    return {"seed": seed, **named, "commit": provenance.commit()}


def _known(seed: int, given: argparse.Namespace) -> dict[str, Any] | None:
    named = _named(seed, given)
    lines = provenance.recorded(RECORD) if given.record else []
    return next((line for line in lines if named.items() <= line.items()), None)


if __name__ == "__main__":
    sys.exit(main())
