"""CROWN of harden compared with auto_LiRPA's: the same networks, images and slopes, in real numbers, float64.

    python benchmarks/lirpa.py --lirpa CHECKOUT --rounds 5 --record

Claim: none; it measures. `difference` is the largest |ours - theirs| / max(|theirs|, 1) over all lower bounds
of logit_y - logit_j, `lowest` and `highest` its ends with a sign. `times_as_long` is harden's time over
auto_LiRPA's, the median of interleaved rounds, both with bounds of every value from backward passes, in real
numbers. `with_rounding` is the same with what float32 rounds, and `slack` the most that it costs a bound.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import Tensor, nn

from benchmarks.peering import provenance
from harden.artefact.classifier_to_onnx import trace
from harden.bounds import Program, Region
from harden.bounds.certification import margin_rows
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.bounds.crown.intermediate_bounds import relax
from harden.graph import read
from harden.models import Classifier
from harden.threats import Linf

RECORD = provenance.RESULTS / "lirpa.jsonl"


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def networks() -> dict[str, nn.Module]:
    """Dense, convolutional, residual, with maxima; all on 1 x 28 x 28 images."""
    relu, flat = nn.ReLU, nn.Flatten
    wide = [nn.Linear(784, 256), relu(), nn.Linear(256, 256), relu(), nn.Linear(256, 10)]
    conv = [nn.Conv2d(1, 16, 4, 2, 1), relu(), nn.Conv2d(16, 32, 4, 2, 1), relu()]
    pooled = [nn.Conv2d(1, 8, 3, 1, 1), nn.MaxPool2d(2), relu(), nn.Conv2d(8, 16, 3, 1, 1)]
    return {
        "dense 2x256": nn.Sequential(flat(), *wide),
        "conv 16-32": nn.Sequential(*conv, flat(), nn.Linear(1568, 100), relu(), nn.Linear(100, 10)),
        "residual": nn.Sequential(
            nn.Conv2d(1, 8, 3, 1, 1), relu(), Residual(8, 16), Residual(16, 16), flat(), nn.Linear(784, 10)
        ),
        "pooling": nn.Sequential(*pooled, nn.MaxPool2d(2), relu(), flat(), nn.Linear(784, 10)),
    }


def main(words: list[str] | None = None) -> int:
    """Measure and print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lirpa", type=Path, help="a checkout of Verified-Intelligence/auto_LiRPA")
    parser.add_argument("--networks", nargs="+", choices=tuple(networks()), default=list(networks()))
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--eps", default="1/50")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="add lines to results/lirpa.jsonl")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.rand(given.images, 1, 28, 28)
    for name, network in networks().items():
        if name not in given.networks:
            continue
        line = {"network": name, "images": given.images, "eps": given.eps, "rounds": given.rounds}
        line |= compared(network.eval(), x, given)
        print(json.dumps(line), flush=True)
        if given.record:
            provenance.append(RECORD, {**line, **provenance.origin()})
    return 0


def compared(network: nn.Module, x: Tensor, given: argparse.Namespace) -> dict[str, Any]:
    """Bounds and times of both."""
    y = network(x).argmax(1)
    program = Program.of(read(trace(Classifier(network), (1, 28, 28))))
    contenders: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: ours(program, x, y, given.eps, rounding=False),
        "rounded": lambda: ours(program, x, y, given.eps, rounding=True),
    }
    if given.lirpa is not None:
        contenders["theirs"] = theirs(network, x, y, given)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    bounds = {}
    for _ in range(given.rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            bounds[name] = run()
            seconds[name].append(time.perf_counter() - start)
    found: dict[str, Any] = {
        "seconds": {name: round(median(times), 4) for name, times in seconds.items()},
        "slack": float((bounds["ours"] - bounds["rounded"]).max()),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    if "theirs" in bounds:
        other = bounds["theirs"]
        found["lowest"], found["highest"] = (
            round(float(of((bounds["ours"] - other) / other.abs().clamp_min(1))), 15)
            for of in (torch.min, torch.max)
        )
        found["difference"] = float(((bounds["ours"] - other).abs() / other.abs().clamp_min(1)).max())
        for ratio, name in (("times_as_long", "ours"), ("with_rounding", "rounded")):
            both = sorted(one / two for one, two in zip(seconds[name], seconds["theirs"], strict=True))
            found[ratio] = round(median(both), 3)
            found[f"{ratio}_spread"] = [round(both[0], 3), round(both[-1], 3)]
    return found


def ours(program: Program, x: Tensor, y: Tensor, eps: str, *, rounding: bool) -> Tensor:
    """Lower bounds of logit_y - logit_j, (N, K - 1)."""
    with torch.no_grad():
        found = relax(program, Region.around(x, Linf(eps)), rounding=rounding)
        rows, image = margin_rows(y, program.classes, found.region.lower)
        return found.lower(program.output, DenseCoefficients(rows), image).reshape(len(x), -1)


def theirs(network: nn.Module, x: Tensor, y: Tensor, given: argparse.Namespace) -> Callable[[], Tensor]:
    """The same by auto_LiRPA's method `CROWN`, its ReLU's slopes adaptive as ours."""
    sys.path.insert(0, str(given.lirpa))
    try:
        module: Any = importlib.import_module("auto_LiRPA")
        perturbations: Any = importlib.import_module("auto_LiRPA.perturbations")
    finally:
        sys.path.remove(str(given.lirpa))
    region = Region.around(x, Linf(given.eps))
    ball = perturbations.PerturbationLpNorm(norm=float("inf"), x_L=region.lower, x_U=region.upper)
    exact = x.double()
    rows, _ = margin_rows(y, 10, exact)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bounded = module.BoundedModule(deepcopy(network).double(), torch.empty_like(exact), device="cpu")
    images = module.BoundedTensor(exact, ball)

    def run() -> Tensor:
        torch.set_default_dtype(torch.float64)  # it makes tensors of the default type on its way
        try:
            return measured()
        finally:
            torch.set_default_dtype(torch.float32)

    def measured() -> Tensor:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lower, _ = bounded.compute_bounds(
                x=(images,), C=rows.reshape(len(x), 9, 10), method="CROWN", bound_upper=False
            )
        found: Tensor = lower
        return found

    return run


if __name__ == "__main__":
    sys.exit(main())
