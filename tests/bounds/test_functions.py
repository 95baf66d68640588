"""Functions of one value: their lines over random intervals, and how exactly onnxruntime computes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harden.bounds.rules.functions import ABSOLUTE, RELATIVE, clip, pointwise
from harden.bounds.rules.protocol import Pointwise
from harden.graph.operations import Abs, Erf, Gelu, HardSigmoid, HardSwish, LeakyRelu, Relu, Sigmoid, Tanh
from tests.graph.graphs import one, run

Function = Callable[[Tensor], Tensor]
FUNCTIONS: dict[str, tuple[object, Function]] = {
    "relu": (Relu(), torch.relu),
    "leaky": (LeakyRelu(0.125), lambda x: functional.leaky_relu(x, 0.125)),
    "abs": (Abs(), torch.abs),
    "hard sigmoid": (HardSigmoid(0.25, 0.5), lambda x: (0.25 * x + 0.5).clamp(0, 1)),
    "steep hard sigmoid": (HardSigmoid(4.0, 3.0), lambda x: (4 * x + 3).clamp(0, 1)),
    "sigmoid": (Sigmoid(), torch.sigmoid),
    "tanh": (Tanh(), torch.tanh),
    "erf": (Erf(), torch.erf),
    "gelu": (Gelu(), functional.gelu),
    "hard swish": (HardSwish(), functional.hardswish),
}
CLIPS = {"below": (-0.5, None), "above": (None, 0.7), "both": (-0.5, 0.7), "crossed": (0.7, -0.5)}


def rules() -> dict[str, tuple[Pointwise, Function]]:
    found: dict[str, tuple[Pointwise, Function]] = {}
    for name, (operation, function) in FUNCTIONS.items():
        rule = pointwise(operation)
        assert rule is not None
        found[name] = (rule, function)
    for name, (low, high) in CLIPS.items():
        found[f"clip {name}"] = (clip(low, high), partial(torch.clamp, min=low, max=high))
    return found


def intervals() -> tuple[Tensor, Tensor]:
    """Of all widths, on both sides of 0, some of a single point."""
    generator = torch.Generator().manual_seed(0)
    centre = 4 * torch.randn(400, generator=generator, dtype=torch.float64)
    width = 10 ** (4 * torch.rand(400, generator=generator, dtype=torch.float64) - 3)
    width[:20] = 0
    return centre - width, centre + width


@pytest.mark.parametrize("name", rules())
def test_the_function_lies_between_its_lines_and_in_its_interval(name: str) -> None:
    rule, function = rules()[name]
    lower, upper = intervals()
    lines = rule.lines(lower, upper)
    low, high = rule.interval(lower, upper)
    shares = torch.linspace(0, 1, 501, dtype=torch.float64)[:, None]
    x = (lower + shares * (upper - lower)).clamp(lower, upper)
    y = function(x)
    slack = 1e-13 * (1 + x.abs())
    assert bool((y >= lines.below_slope * x + lines.below_offset - slack).all())
    assert bool((y <= lines.above_slope * x + lines.above_offset + slack).all())
    assert bool((y >= low - slack).all())
    assert bool((y <= high + slack).all())
    # And they are no looser than a band of the interval's height would be.
    middle = (lower + upper) / 2
    gap = (lines.above_slope - lines.below_slope) * middle + lines.above_offset - lines.below_offset
    assert bool((gap <= (high - low) * 1.001 + 1e-5 * (1 + x.abs().amax(0))).all())


def erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(each) for each in x])


def exactly(name: str, x: np.ndarray) -> np.ndarray:
    """In float64; erf and what is made of it by Python's own."""
    wide = x.astype(np.float64)
    if name == "Sigmoid":
        return np.exp(-np.logaddexp(0, -wide))
    if name == "Tanh":
        return np.tanh(wide)
    if name == "HardSwish":
        return wide * np.clip(wide / 6 + 0.5, 0, 1)
    if name == "Erf":
        return erf(wide)
    halved: np.ndarray = wide / 2 * (1 + erf(wide / math.sqrt(2)))
    return halved


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "Erf", "Gelu", "HardSwish"])
def test_the_runtime_is_as_exact_as_is_taken_for_granted(name: str) -> None:
    """Every binade from 2^-126 to 2^127, and densely where the function bends: 160,000 points, both signs."""
    rng = np.random.default_rng(0)
    spread = np.ldexp(1 + rng.random(60_000), rng.integers(-126, 127, 60_000))
    dense = rng.uniform(0, 20, 100_000)
    x = np.concatenate([spread, dense, -spread, -dense, [0.0, -0.0]]).astype(np.float32)
    found = run(one(name, ("n", 1), opset=20), x[:, None])[:, 0].astype(np.float64)
    expected = exactly(name, x)
    relative = RELATIVE if name in ("Gelu", "HardSwish") else 0.0
    allowed = ABSOLUTE + relative * np.abs(x.astype(np.float64))
    assert bool(np.isfinite(found).all())
    # With room to spare: what is stated is more than what was seen on any processor so far.
    assert float((np.abs(found - expected) / allowed).max()) < 0.5
