"""Smooth functions between grid points: a sine, a function with a kink, values near overflow."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harden.bounds.float_rounding import LARGEST_32
from harden.bounds.rules.smooth_functions import PLACES, SmoothFunction


def bent(x: Tensor) -> Tensor:
    return torch.where(x > 0, 2 * x, x.square())


def slope_of_bent(x: Tensor) -> Tensor:
    return torch.where(x > 0, 2.0, 2 * x).to(x.dtype)


SINE = SmoothFunction(torch.sin, torch.cos, 1.0, 0.0, (0.0, 0.0))
KINK = SmoothFunction(bent, slope_of_bent, 2.0, 2.0, (0.0, 0.0))


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("rule", [SINE, KINK], ids=["sine", "kink"])
@settings(max_examples=150, deadline=None)
@given(lower=st.floats(-30, 10), width=st.floats(0, 40))
def test_the_function_lies_between_its_lines_and_in_its_interval(
    rule: SmoothFunction, lower: float, width: float
) -> None:
    low, high = double(lower), double(lower + width)
    x = low + torch.linspace(0, 1, 2001, dtype=torch.float64) * (high - low)
    y, lines, (least, most) = rule.value(x), rule.lines(low, high), rule.interval(low, high)
    assert bool((lines.below_slope * x + lines.below_offset <= y).all())
    assert bool((lines.above_slope * x + lines.above_offset >= y).all())
    assert bool((least <= y).all())
    assert bool((most >= y).all())
    # No wider than the curvature and the jump between two grid points allow, in all.
    step = width / (PLACES - 1)
    between = rule.curvature * step**2 / 8 + rule.jump * step / 4
    assert float(most - least) <= float(y.max() - y.min()) + 2.01 * between + 1e-9


def test_a_jump_of_the_slope_between_grid_points_is_allowed_for() -> None:
    """The kink at 0 lies in the middle between two of 65 places: the chord there is above the function."""
    width = 64.0 / 63
    low, high = double(-0.5 * width / 64), double(63.5 * width / 64)
    kink = SmoothFunction(torch.abs, torch.sign, 0.0, 2.0, (0.0, 0.0))
    least, _ = kink.interval(low, high)
    assert float(least) <= 0
    flat = SmoothFunction(torch.abs, torch.sign, 0.0, 0.0, (0.0, 0.0))
    assert float(flat.interval(low, high)[0]) > 0


def test_a_single_point_has_its_tangent() -> None:
    at = double(0.7)
    lines = SINE.lines(at, at)
    torch.testing.assert_close(lines.above_slope, torch.cos(at))
    torch.testing.assert_close(lines.above_slope * at + lines.above_offset, torch.sin(at))
    torch.testing.assert_close(lines.below_slope * at + lines.below_offset, torch.sin(at))


def test_stated_errors_are_part_of_the_bounds_and_nothing_is_said_near_overflow() -> None:
    rough = SmoothFunction(torch.sin, torch.cos, 1.0, 0.0, (0.25, 0.125))
    low, high = double(-2.0), double(1.0)
    for one, other in zip(SINE.interval(low, high), rough.interval(low, high), strict=True):
        assert float((one - other).abs()) == pytest.approx(0.25 + 2 * 0.125)
    least, most = SINE.interval(double(0.0), double(LARGEST_32 / 4))
    assert (float(least), float(most)) == (-torch.inf, torch.inf)
