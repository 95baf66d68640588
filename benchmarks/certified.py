"""Certified accuracy of the network of Wong & Kolter (1711.00851) on MNIST at L-inf 0.1, exported to ONNX.

    python benchmarks/certified.py --wong wong_mnist.pth npz:mnist.npz --record

Claim: with their slopes u / (u - l) and their bounds alone, real numbers, over the whole ball, the published
94.2 % of the 10,000 test images are certified, up to 0.1 points, and more where the ball is cut by [0, 1], as
images are, and where each value takes the better of these bounds and those of intervals; float32 rounding
costs less than 1 % of them; optimised slopes certify at least 94.5 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import Tensor

from benchmarks.peering import cases, provenance
from benchmarks.peering.trained import Place
from harden.artefact.classifier_to_onnx import trace
from harden.bounds import Method, Program, Region, SlopeAscent, certify
from harden.bounds.certification import worst_margins
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.intermediate_bounds import refine
from harden.bounds.rules import Affine
from harden.graph import read
from harden.models import Classifier
from harden.statistics import Proportion
from harden.threats import Linf, Threat

RECORD = provenance.RESULTS / "certified.jsonl"
PUBLISHED = "parallel slopes alone, real numbers"
UNCUT = "parallel slopes alone, real numbers, ball not cut by [0, 1]"
METHODS = {
    UNCUT: Method(parallel=True, climb=None, rounding=False),
    PUBLISHED: Method(parallel=True, climb=None, rounding=False),
    "parallel slopes, real numbers": Method(parallel=True, climb=None, rounding=False),
    "parallel slopes, float32": Method(parallel=True, climb=None),
    "CROWN, float32": Method(climb=None),
    "parallel slopes climbed, float32": Method(parallel=True, climb=SlopeAscent()),
}


def main(words: list[str] | None = None) -> int:
    """Measure and print a line for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wong", nargs=2, metavar=("FILE", "DATA"), required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", help="part of a method's name: run those alone")
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
        if given.only is not None and given.only not in name:
            continue
        began = time.perf_counter()
        if name in (UNCUT, PUBLISHED):
            whole = Linf(case.threat.eps, bounds=(-1.0, 2.0))  # a box that cuts nothing
            found = as_published(program, x, y, whole if name == UNCUT else case.threat)
        else:
            found = certify(program, x, y, case.threat, method).certified
        certified = Proportion.of((found & right).tolist())
        line: dict[str, Any] = {
            **case.described,
            "method": name,
            "images": len(x),
            "certified": certified.value,
            "interval": list(certified.interval),
            "clean": float(right.float().mean()),
            "seconds": round(time.perf_counter() - began, 1),
            "threads": given.threads,
        }
        print(json.dumps(line), flush=True)
        if given.record:
            provenance.append(RECORD, {**line, **provenance.origin()})
    return 0


@torch.no_grad()
def as_published(program: Program, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """Images that linear bounds alone certify, (N,): each value by a backward pass, without intervals."""
    found = []
    for at in range(0, len(x), 32):
        part, labels = x[at : at + 32], y[at : at + 32]
        region = Region.around(part, threat)
        known = Relaxation(program, region, {program.input: (region.lower, region.upper)}, True, False)
        boxes = {program.input}  # on a box interval arithmetic is exact, and the same as a backward pass
        for step in program.steps:
            inputs = [known.intervals[name] for name in step.inputs]
            rule = step.rule
            lower, upper = rule.interval(*inputs) if isinstance(rule, Affine) else rule.interval(*inputs[0])
            if step.name in program.bent and not boxes.issuperset(step.inputs):
                nothing = torch.full_like(lower, -torch.inf), torch.full_like(upper, torch.inf)
                lower, upper = refine(known, step, nothing)
            known.intervals[step.name] = lower, upper
        found.append(worst_margins(known, labels) > 0)
    return torch.cat(found)


if __name__ == "__main__":
    sys.exit(main())
