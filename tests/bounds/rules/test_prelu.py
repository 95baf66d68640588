"""Bounds of PReLU: slopes below, between and above 0 and 1, one for each channel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harden.bounds.rules.prelu import PReluBounds


@settings(max_examples=200, deadline=None)
@given(
    slopes=st.lists(st.floats(-4, 4), min_size=3, max_size=3),
    lower=st.floats(-20, 10),
    width=st.floats(0, 20),
)
def test_the_function_lies_between_its_lines_and_in_its_interval(
    slopes: list[float], lower: float, width: float
) -> None:
    a = torch.tensor(slopes, dtype=torch.float64)
    rule = PReluBounds.of(a, (3,))
    assert rule is not None
    low, high = torch.full((1, 3), lower).double(), torch.full((1, 3), lower + width).double()
    x = low + torch.linspace(0, 1, 101, dtype=torch.float64)[:, None] * (high - low)
    y = torch.where(x >= 0, x, a * x)
    lines, (least, most) = rule.lines(low, high), rule.interval(low, high)
    slack = 1e-12 * (1 + x.abs())
    assert bool((lines.below_slope * x + lines.below_offset <= y + slack).all())
    assert bool((lines.above_slope * x + lines.above_offset >= y - slack).all())
    kink = torch.where((low <= 0) & (high >= 0), 0.0, y[:1])
    values = torch.cat([y, kink])
    torch.testing.assert_close(least, values.amin(0, keepdim=True), rtol=0, atol=1e-4)
    torch.testing.assert_close(most, values.amax(0, keepdim=True), rtol=0, atol=1e-4)
    assert bool((least <= y + slack).all())
    assert bool((most >= y - slack).all())


def test_the_secant_is_above_a_convex_function_and_below_a_concave_one() -> None:
    """Slopes 0.5 and 3 over [-2, 2]: secants (2 + 1) / 4 and (2 + 6) / 4."""
    rule = PReluBounds.of(torch.tensor([0.5, 3.0], dtype=torch.float64), (2,))
    assert rule is not None
    low, high = torch.full((1, 2), -2.0).double(), torch.full((1, 2), 2.0).double()
    lines = rule.lines(low, high)
    assert lines.above_slope.tolist() == [[0.75, 3.0]]
    assert lines.below_slope.tolist() == [[0.5, 2.0]]
    assert lines.above_offset.tolist()[0] == pytest.approx([0.5, 0.0], abs=1e-5)
    assert lines.below_offset.tolist()[0] == pytest.approx([0.0, -2.0], abs=1e-5)


def test_slopes_that_vary_or_have_too_many_dimensions_have_no_rule() -> None:
    assert PReluBounds.of(None, (3,)) is None
    assert PReluBounds.of(torch.ones(1, 1, 3), (3,)) is None
    found = PReluBounds.of(torch.ones(3, 1, 1), (3, 4, 5))
    assert found is not None
    assert found.slopes.shape == (1, 3, 4, 5)
