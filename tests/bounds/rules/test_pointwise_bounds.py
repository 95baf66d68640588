"""Functions of one value: each rule satisfies the protocol, and its interval and lines hold the function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.bounds.rules.affine_map import Affine
from harden.bounds.rules.pointwise_bounds import LinearBounds, Pointwise
from harden.graph.operators.arithmetic import Abs, Erf
from harden.graph.operators.pooling import MaxPool
from harden.graph.operators.rectifiers import HardSigmoid, LeakyRelu, Relu
from harden.graph.operators.smooth_activations import Elu, HardSwish, Sigmoid, Softsign, Tanh
from tests.bounds.rules.derived_rules import derived

FUNCTIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    Relu(),
    LeakyRelu(0.125),
    Abs(),
    Erf(),
    HardSigmoid(0.25, 0.5),
    Sigmoid(),
    Tanh(),
    Elu(),
    HardSwish(),
    Softsign(),
)
ends = st.floats(min_value=-30, max_value=30, width=32)


def rule_of(function: object, *sizes: tuple[int, ...]) -> Any:
    return derived(function, (None,), *(sizes or ((3,),)))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: type(each).__name__)
def test_each_rule_of_one_value_satisfies_the_protocol(function: object) -> None:
    rule = rule_of(function)
    assert isinstance(rule, Pointwise)
    assert not isinstance(rule, Affine)


def test_what_has_one_method_alone_or_mixes_values_does_not() -> None:
    class IntervalAlone:
        def interval(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
            return lower, upper

    assert not isinstance(IntervalAlone(), Pointwise)
    pooled = rule_of(MaxPool((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)), (1, 4, 4))
    assert not isinstance(pooled, Pointwise)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: type(each).__name__)
@given(one=ends, other=ends)
def test_the_function_is_between_both_bounds_in_the_whole_interval(
    function: Callable[[Tensor], Tensor], one: float, other: float
) -> None:
    low, high = min(one, other), max(one, other)
    lower, upper = (torch.full((1, 1), end, dtype=torch.float64) for end in (low, high))
    x = torch.linspace(low, high, 33, dtype=torch.float64).clamp(low, high).view(-1, 1)
    # As float32 computes it.
    value = function(x.float().clamp(low, high)).double()
    x = x.float().clamp(low, high).double()
    rule = rule_of(function, (1,))
    least, most = rule.interval(lower, upper)
    assert least.shape == most.shape == lower.shape
    assert bool(((least <= value) & (value <= most)).all())
    found = rule.lines(lower, upper)
    assert isinstance(found, LinearBounds)
    below = found.below_slope * x + found.below_offset
    above = found.above_slope * x + found.above_offset
    assert bool(((below <= value) & (value <= above)).all())


def test_lines_of_several_images_are_those_of_each() -> None:
    lower = torch.tensor([[-2.0, 0.5], [-1.0, -3.0]], dtype=torch.float64)
    upper = torch.tensor([[1.0, 0.75], [4.0, -2.0]], dtype=torch.float64)
    rule = rule_of(Relu(), (2,))
    both = rule.lines(lower, upper)
    for row in range(2):
        one = rule.lines(lower[row : row + 1], upper[row : row + 1])
        for part in ("below_slope", "below_offset", "above_slope", "above_offset"):
            assert torch.equal(getattr(both, part)[row : row + 1], getattr(one, part))


def test_linear_bounds_are_named_parts_and_can_not_be_changed() -> None:
    parts = [torch.tensor(float(at)) for at in range(4)]
    bounds = LinearBounds(*parts)
    assert bounds.below_slope is parts[0]
    assert bounds.below_offset is parts[1]
    assert bounds.above_slope is parts[2]
    assert bounds.above_offset is parts[3]
    with pytest.raises(FrozenInstanceError):
        bounds.below_slope = parts[1]  # type: ignore[misc]  # wrong on purpose
    # Tensors have no single truth value: identity compares.
    assert bounds != LinearBounds(*parts)
