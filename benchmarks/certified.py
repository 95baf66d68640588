"""Certified accuracy of the network of Wong & Kolter (1711.00851) on MNIST at L-inf 0.1, exported to ONNX.

    python benchmarks/certified.py --wong wong_mnist.pth npz:mnist.npz --record

Claim: with their slopes u / (u - l) bounds of the real-number network certify the published 94.2 % of the
10,000 test images, up to 0.1 points; float32 rounding costs less than 1 % of them; climbed slopes certify at
least 94.5 %.
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
from harden.artefact.graph import trace
from harden.bounds import Climb, Method, Program, certify
from harden.graph import read
from harden.models import Classifier
from harden.statistics import Proportion

RECORD = provenance.RESULTS / "certified.jsonl"
METHODS = {
    "parallel slopes, real numbers": Method(parallel=True, climb=None, rounding=False),
    "parallel slopes, float32": Method(parallel=True, climb=None),
    "CROWN, float32": Method(climb=None),
    "parallel slopes climbed, float32": Method(parallel=True, climb=Climb()),
}


def main(words: list[str] | None = None) -> int:
    """Measure and print a line for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wong", nargs=2, metavar=("FILE", "DATA"), required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="add lines to results/certified.jsonl")
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    with Place(None, "7E", given.images) as place:
        (case,) = cases.of([], [], [], place, given.wong)
    x, y = case.subject.x, case.subject.y
    graph = read(trace(Classifier(case.subject.theirs), (1, 28, 28)))
    program = Program.of(graph)
    right = graph.run(x).argmax(1) == y
    for name, method in METHODS.items():
        proofs = certify(program, x, y, case.threat, method)
        certified = Proportion.of((proofs.certified & right).tolist())
        line: dict[str, Any] = {
            **case.described,
            "method": name,
            "images": len(x),
            "certified": certified.value,
            "interval": list(certified.interval),
            "clean": float(right.float().mean()),
            "seconds": round(proofs.seconds, 1),
            "threads": given.threads,
        }
        print(json.dumps(line), flush=True)
        if given.record:
            provenance.append(RECORD, {**line, **provenance.origin()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
