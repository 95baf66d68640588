"""Functions of one value: their lines over random intervals, and how exactly onnxruntime computes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harden.bounds.rules import BOUND_RULES, OperationInputs
from harden.bounds.rules.function_rules import ABSOLUTE, RELATIVE, clip
from harden.bounds.rules.pointwise_bounds import Interval, LinearBounds, Pointwise
from harden.bounds.rules.prelu import PReluBounds
from harden.bounds.rules.smooth_functions import SmoothFunction
from harden.graph.operators.arithmetic import Abs, Erf
from harden.graph.operators.rectifiers import HardSigmoid, LeakyRelu, Relu
from harden.graph.operators.smooth_activations import (
    Celu,
    Elu,
    Gelu,
    HardSwish,
    Mish,
    Selu,
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
)
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
    "elu": (Elu(), functional.elu),
    "flat elu": (Elu(0.25), lambda x: functional.elu(x, 0.25)),
    "steep elu": (Elu(3.0), lambda x: functional.elu(x, 3.0)),
    "selu": (Selu(1.6732632423543772, 1.0507009873554805), torch.selu),
    "celu": (Celu(0.25), lambda x: functional.celu(x, 0.25)),
    "softplus": (Softplus(), lambda x: functional.softplus(x, threshold=60)),
    "softsign": (Softsign(), functional.softsign),
    "mish": (Mish(), functional.mish),
}
CLIPS = {"below": (-0.5, None), "above": (None, 0.7), "both": (-0.5, 0.7), "crossed": (0.7, -0.5)}


def pointwise(operation: object) -> Pointwise | None:
    """The rule of a function of one value."""
    inputs = OperationInputs((None,), ((1,),), (1,), torch.zeros((), dtype=torch.float64))
    rule = BOUND_RULES[type(operation)].derive(operation, inputs)
    assert rule is None or isinstance(rule, Pointwise)
    return rule


def _bent(slope: float, x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, slope * x)


@dataclass(frozen=True)
class _Row:
    """A rule for values (N, 1) on one of shape (N,)."""

    rule: PReluBounds

    def interval(self, lower: Tensor, upper: Tensor) -> Interval:
        low, high = self.rule.interval(lower[:, None], upper[:, None])
        return low[:, 0], high[:, 0]

    def lines(self, lower: Tensor, upper: Tensor) -> LinearBounds:
        found = self.rule.lines(lower[:, None], upper[:, None])
        return LinearBounds(
            *(
                each[:, 0]
                for each in (found.below_slope, found.below_offset, found.above_slope, found.above_offset)
            )
        )


def rules() -> dict[str, tuple[Pointwise, Function]]:
    found: dict[str, tuple[Pointwise, Function]] = {}
    for name, (operation, function) in FUNCTIONS.items():
        rule = pointwise(operation)
        assert rule is not None
        found[name] = (rule, function)
    for slope in (-0.5, 0.25, 1.0, 2.5):
        slopes = torch.full((1, 1), slope, dtype=torch.float64)
        leaky = PReluBounds.of(slopes, (1,))
        assert leaky is not None
        found[f"slope {slope}"] = (_Row(leaky), partial(_bent, slope))
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
    if name in ("Elu", "Selu", "Celu"):
        alpha, gamma = (
            (1.67326319217681884765625, 1.05070102214813232421875) if name == "Selu" else (1.0, 1.0)
        )
        bent: np.ndarray = gamma * np.where(wide > 0, wide, alpha * np.expm1(np.minimum(wide, 0)))
        return bent
    if name == "Softsign":
        flat: np.ndarray = wide / (1 + np.abs(wide))
        return flat
    if name == "Softplus":
        above: np.ndarray = np.logaddexp(0, wide)
        return above
    if name == "Mish":
        product: np.ndarray = wide * np.tanh(np.logaddexp(0, wide))
        return product
    halved: np.ndarray = wide / 2 * (1 + erf(wide / math.sqrt(2)))
    return halved


SMOOTH = (
    "Sigmoid",
    "Tanh",
    "Erf",
    "Gelu",
    "HardSwish",
    "Elu",
    "Selu",
    "Celu",
    "Softplus",
    "Softsign",
    "Mish",
)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_runtime_is_as_exact_as_is_taken_for_granted(name: str) -> None:
    """Every binade from 2^-126 to 2^127, and densely where the function bends: 160,000 points, both signs."""
    rng = np.random.default_rng(0)
    spread = np.ldexp(1 + rng.random(60_000), rng.integers(-126, 127, 60_000))
    dense = rng.uniform(0, 20, 100_000)
    x = np.concatenate([spread, dense, -spread, -dense, [0.0, -0.0]]).astype(np.float32)
    found = run(one(name, ("n", 1), opset=20), x[:, None])[:, 0].astype(np.float64)
    expected = exactly(name, x)
    relative = RELATIVE if name in ("Gelu", "HardSwish", "Selu", "Softplus", "Mish") else 0.0
    allowed = ABSOLUTE * (1.758 if name == "Selu" else 1.0) + relative * np.abs(x.astype(np.float64))
    assert bool(np.isfinite(found).all())
    # With room to spare: what is stated is more than what was seen on any processor so far.
    assert float((np.abs(found - expected) / allowed).max()) < 0.5


@pytest.mark.parametrize("alpha", [2.0**-10, 0.01, 0.3, 7.0, 2.0**10])
@pytest.mark.parametrize("kind", ["Elu", "Celu"])
def test_the_runtime_is_as_exact_for_other_parameters(kind: str, alpha: float) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([-rng.uniform(0, 20, 20_000), -rng.uniform(0, 20 * alpha, 20_000)]).astype(np.float32)
    wide = x.astype(np.float64)
    expected = alpha * np.expm1(wide / alpha if kind == "Celu" else wide)
    found = run(one(kind, ("n", 1), alpha=alpha), x[:, None])[:, 0].astype(np.float64)
    assert float(np.abs(found - expected).max()) < 0.5 * ABSOLUTE * max(alpha, 1.0)


@pytest.mark.parametrize(
    ("operation", "kinks"),
    [(Sigmoid(), ()), (Tanh(), ()), (Softplus(), ()), (Softsign(), (0.0,)), (Mish(), ()), (Elu(0.5), (0.0,))],
)
def test_no_second_derivative_is_larger_than_stated(operation: object, kinks: tuple[float, ...]) -> None:
    """By differences of the slope over steps of 1/1000, away from where it jumps."""
    rule = pointwise(operation)
    assert isinstance(rule, SmoothFunction)
    x = torch.arange(-12, 12, 1e-3, dtype=torch.float64) + 3e-4
    bend = rule.slope(x).diff() / 1e-3
    away = torch.tensor([all(abs(float(at) - kink) > 2e-3 for kink in kinks) for at in x[1:]])
    assert float(bend[away].abs().max()) <= rule.curvature
    for kink in kinks:
        jump = abs(float(rule.slope(x.new_tensor(kink + 1e-12)) - rule.slope(x.new_tensor(kink - 1e-12))))
        assert jump <= rule.jump + 1e-9
