"""Images that branch and bound decides and one relaxation leaves open: dense networks on digits.

    python benchmarks/branching.py --seconds 60 --record

Claim: none; it measures. Networks of some hundred ReLUs are trained for 600 steps with noise on digits of
scikit-learn; of 100 images that they were not trained on and answer right, CROWN with optimised slopes
certifies some; then branch and bound runs on the rest for a number of seconds in all. Candidates are replayed
in float32.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import Tensor, nn

from benchmarks.peering import provenance
from harden.artefact.classifier_to_onnx import trace
from harden.artefact.parity.parity_gated_export import judge_of
from harden.artefact.runtime.session import Session
from harden.bounds import Branching, Method, Program, SlopeAscent, certify
from harden.data import load
from harden.graph import read
from harden.models import Classifier
from harden.statistics import Proportion
from harden.threats import Linf

RECORD = provenance.RESULTS / "branching.jsonl"
CASES: Final = (((100, 100), "1/12"), ((80, 80, 80), "1/12"), ((256, 256), "1/12"), ((128, 128, 128), "1/12"))


def network(widths: tuple[int, ...], steps: int = 600) -> nn.Sequential:
    """Trained in a second or two, with noise of 0.05 on the images."""
    torch.manual_seed(0)
    sizes = (64, *widths, 10)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    train = load("digits").train
    x, y = train.x.float(), train.y
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(steps):
        chosen = torch.randperm(len(y))[:100]
        noise = 0.05 * (torch.rand(100, *x.shape[1:]) * 2 - 1)
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(x[chosen] + noise), y[chosen]))
        optimiser.step()
    return net.eval()


def measured(widths: tuple[int, ...], eps: str, images: int, seconds: float) -> dict[str, Any]:
    """One network, as JSON."""
    graph = trace(Classifier(network(widths)), (1, 8, 8))
    judge = judge_of(Session(graph.SerializeToString()))
    test = load("digits").test
    x, y = _right(judge(test.x.float()), test.x.float(), test.y, images)
    program, threat = Program.of(read(graph)), Linf(eps)
    one = certify(program, x, y, threat, Method(climb=SlopeAscent()))
    more = certify(program, x, y, threat, Method(climb=SlopeAscent(), branching=Branching(seconds=seconds)))
    broken = sum(int(judge(found[None]).argmax(1)) != int(y[at]) for at, found in more.candidates.items())
    certified = int(more.certified.sum())
    return {
        "widths": list(widths),
        "eps": eps,
        "images": len(y),
        "certified_before": int(one.certified.sum()),
        "certified": certified,
        "interval": list(Proportion(certified, len(y)).interval),
        "broken": broken,
        "open": len(y) - certified - broken,
        "seconds_before": round(one.seconds, 1),
        "seconds": round(more.seconds, 1),
        "limit": seconds,
    }


def _right(logits: Tensor, x: Tensor, y: Tensor, images: int) -> tuple[Tensor, Tensor]:
    rows = (logits.argmax(1) == y).nonzero().flatten()[:images]
    return x[rows], y[rows]


def main(words: list[str] | None = None) -> int:
    """Measure and print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--record", action="store_true", help="add lines to results/branching.jsonl")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    for widths, eps in CASES:
        line = measured(widths, eps, given.images, given.seconds)
        print(json.dumps(line), flush=True)
        if given.record:
            provenance.append(RECORD, {**line, **provenance.origin()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
