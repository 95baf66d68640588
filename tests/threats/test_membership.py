"""Membership is decided at the distance itself, in rational numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from harden.threats import L1, L2, Linf
from harden.threats.membership import exact_difference, in_box, nearest_below

pytestmark = pytest.mark.usefixtures("rng_untouched")


@given(x=st.floats(0, 1, width=32), delta=st.floats(-1, 1, width=32))
@example(x=0.5, delta=2.0**-30)
@example(x=1e-45, delta=1.0)
def test_membership_is_decided_at_the_distance_itself(x: float, delta: float) -> None:
    """With eps exactly the distance it is inside; with any smaller rational number it is not."""
    clean = torch.full((1, 1, 1, 1), x)
    other = (clean + delta).clamp(0, 1)
    distance = abs(Fraction(float(other)) - Fraction(float(clean)))
    for kind in (Linf, L2, L1):
        assert kind(distance).contains(other, clean).tolist() == [True]
        if distance:
            assert kind(distance * (1 - Fraction(1, 10**40))).contains(other, clean).tolist() == [False]


@pytest.mark.parametrize(
    ("x_adv", "x", "eps"),
    [
        (0.5, -(2.0**-149), Fraction(1, 2)),
        (1.0, 2.0**-54 * (1 + 2.0**-23), 1 - Fraction(1, 2**53)),
        (1.0, 2.0**-60, 1 - Fraction(1, 2**60)),
        (1.0, 2.0**-60, 1 - Fraction(1, 2**60) - Fraction(1, 2**200)),
    ],
)
def test_a_distance_that_float64_rounds_to_eps_is_judged_by_its_rest(
    x_adv: float, x: float, eps: Fraction
) -> None:
    clean, other = torch.full((1, 1, 1, 1), x), torch.full((1, 1, 1, 1), x_adv)
    distance = Fraction(x_adv) - Fraction(float(clean))
    assert float(distance) == float(eps)  # float64 can't tell them apart
    for kind in (Linf, L2, L1):
        assert kind(eps, (-1.0, 1.0)).contains(other, clean).tolist() == [distance <= eps]


@given(a=st.floats(-2, 2, width=32), b=st.floats(-2, 2, width=32))
@example(a=1.0, b=2.0**-60)
@example(a=-(2.0**-149), b=1.0)
def test_the_difference_is_exact_in_two_parts(a: float, b: float) -> None:
    high, low = exact_difference(torch.tensor([a]), torch.tensor([b]))
    assert high.dtype == low.dtype == torch.float64
    assert Fraction(high.item()) + Fraction(low.item()) == abs(Fraction(a) - Fraction(b))
    assert high.item() >= 0


@given(st.fractions(0, 1))
@example(Fraction(1, 4))
@example(Fraction(1, 10))
def test_the_nearest_number_below(eps: Fraction) -> None:
    value, exact = nearest_below(eps)
    assert Fraction(value) <= eps < Fraction(math.nextafter(value, math.inf))
    assert exact == (Fraction(value) == eps)


def test_the_box_holds_its_ends_and_no_nan() -> None:
    above = math.nextafter(0.7, 1)
    x = torch.tensor([0.1, 0.7, above, 0.4, -0.1, math.nan, math.inf], dtype=torch.float64)
    assert in_box(x, (0.1, 0.7)).tolist() == [True, True, False, True, False, False, False]
