"""Bounds of piecewise linear functions: sound on random intervals, and tight where a formula says so."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harden.bounds.rules.piecewise_linear import PiecewiseLinear, Rectifier

ENDS = st.tuples(st.floats(-50, 50), st.floats(0, 20))
HAT = PiecewiseLinear((-1.0, 0.5, 2.0), (0.0, 3.0, -1.0), 0.5, 2.0)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@settings(max_examples=200, deadline=None)
@given(end=ENDS, alpha=st.sampled_from([0.0, 0.01, 0.5, 0.99]), slope=st.floats(-1, 2))
def test_any_slope_of_a_rectifier_s_lower_line_is_sound(
    end: tuple[float, float], alpha: float, slope: float
) -> None:
    rule, lower, upper = Rectifier(alpha), double(end[0]), double(end[0] + end[1])
    x = torch.linspace(0, 1, 101, dtype=torch.float64) * (upper - lower) + lower
    y = torch.maximum(x, alpha * x)
    slack = 1e-13 * (1 + float(x.abs().max()))
    for lines in (rule.lines(lower, upper), rule.lines_with(lower, upper, double(slope))):
        assert bool((lines.below_slope * x + lines.below_offset <= y + slack).all())
        assert bool((lines.above_slope * x + lines.above_offset >= y - slack).all())


def test_a_rectifier_has_the_lines_of_crown() -> None:
    """The secant above; below, the part that leaves less area; both exact where the sign is settled."""
    lower, upper = double(-1.0, -3.0, 0.5, -2.0), double(3.0, 1.0, 2.0, -1.0)
    for alpha in (0.0, 0.25):
        lines = Rectifier(alpha).lines(lower, upper)
        secant = [(3 + alpha) / 4, (1 + 3 * alpha) / 4, 1.0, alpha]
        assert lines.above_slope.tolist() == pytest.approx(secant)
        assert lines.below_slope.tolist() == [1.0, alpha, 1.0, alpha]
        lift = [(1 - alpha) * 3 / 4, (1 - alpha) * 3 / 4, 0.0, 0.0]
        assert lines.above_offset.tolist() == pytest.approx(lift, abs=1e-6)
        assert lines.below_offset.tolist() == pytest.approx([0.0] * 4, abs=1e-6)
    assert Rectifier().lines(lower, upper).below_offset.tolist() == [0.0] * 4
    parallel = Rectifier().lines_with(lower, upper, Rectifier().secant(lower, upper))
    assert parallel.below_slope.tolist() == parallel.above_slope.tolist()


@settings(max_examples=200, deadline=None)
@given(end=ENDS)
def test_lines_and_interval_of_any_function_hold_at_its_kinks(end: tuple[float, float]) -> None:
    lower, upper = double(end[0]), double(end[0] + end[1])
    x = torch.linspace(0, 1, 101, dtype=torch.float64) * (upper - lower) + lower
    x = torch.cat([x, double(-1.0, 0.5, 2.0).clamp(lower, upper)])
    rising = torch.where(x <= 0.5, 2 * (x + 1), 3 - (x - 0.5) * 8 / 3)
    y = torch.where(x <= -1, 0.5 * (x + 1), torch.where(x > 2, -1 + 2 * (x - 2), rising))
    lines, (low, high) = HAT.lines(lower, upper), HAT.interval(lower, upper)
    slack = 1e-12 * (1 + float(x.abs().max()))
    assert bool((lines.below_slope * x + lines.below_offset <= y + slack).all())
    assert bool((lines.above_slope * x + lines.above_offset >= y - slack).all())
    torch.testing.assert_close(low, y.amin().reshape(1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(high, y.amax().reshape(1), rtol=1e-9, atol=1e-9)


def test_a_function_of_terms_is_charged_for_their_rounding() -> None:
    plain, rounded = (PiecewiseLinear((0.0, 1.0), (0.0, 1.0), 0.0, 0.0, terms) for terms in (0, 2))
    lower, upper = double(-4.0), double(3.0)
    (low, high), (lowest, highest) = (rule.interval(lower, upper) for rule in (plain, rounded))
    assert float(high - 1) < 1e-12
    assert 1e-7 < float(highest - high) < 1e-4
    assert 1e-7 < float(low - lowest) < 1e-4
