from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harden.verifier.ball_membership import distances, inside_l1, inside_l2, inside_linf

Pixels = npt.NDArray[np.float32]

pixels = hnp.arrays(np.float32, st.integers(1, 12), elements=st.floats(0, 1, width=32, allow_subnormal=True))
budgets = st.fractions(Fraction(1, 1000), 2, max_denominator=1000)


def _fractions(values: Pixels) -> list[Fraction]:
    return [Fraction(v) for v in values.tolist()]


@settings(deadline=None)
@given(pixels, budgets, st.integers(-3, 3), st.sampled_from([-1, 1]))
def test_linf_is_decided_exactly_around_its_edge(o: Pixels, eps: Fraction, ulps: int, sign: int) -> None:
    w = (o + np.float32(sign * float(eps))).astype(np.float32)
    for _ in range(abs(ulps)):
        w = np.nextafter(w, np.float32(np.inf if ulps > 0 else -np.inf))
    truth = all(abs(a - b) <= eps for a, b in zip(_fractions(w), _fractions(o), strict=True))
    assert inside_linf(o, w, eps) == truth


@settings(deadline=None)
@given(pixels, budgets, st.integers(-3, 3))
def test_l2_is_decided_exactly_around_its_edge(o: Pixels, eps: Fraction, ulps: int) -> None:
    direction = np.linspace(1, 2, o.size) / np.linalg.norm(np.linspace(1, 2, o.size))
    w = (o + float(eps) * direction).astype(np.float32)
    for _ in range(abs(ulps)):
        w[0] = np.nextafter(w[0], np.float32(np.inf if ulps > 0 else -np.inf))
    truth = sum((a - b) ** 2 for a, b in zip(_fractions(w), _fractions(o), strict=True)) <= eps * eps
    assert inside_l2(o, w, eps) == truth


@settings(deadline=None)
@given(pixels, budgets, st.integers(-3, 3), st.sampled_from([-1, 1]))
def test_l1_is_decided_exactly_around_its_edge(o: Pixels, eps: Fraction, ulps: int, sign: int) -> None:
    w = (o + sign * float(eps) / o.size).astype(np.float32)
    for _ in range(abs(ulps)):
        w[0] = np.nextafter(w[0], np.float32(np.inf if ulps > 0 else -np.inf))
    truth = sum(abs(a - b) for a, b in zip(_fractions(w), _fractions(o), strict=True)) <= eps
    assert inside_l1(o, w, eps) == truth


def test_distances_are_those_of_the_norm() -> None:
    o, w = np.zeros((2, 1, 1, 2), np.float32), np.array([[3, -4], [0, 0]], np.float32).reshape(2, 1, 1, 2)
    found = {norm: distances(o, w, norm).tolist() for norm in ("linf", "l2", "l1")}
    assert found == {"linf": [4.0, 0.0], "l2": [5.0, 0.0], "l1": [7.0, 0.0]}


def test_dyadic_edges_are_inside_and_one_ulp_more_is_not() -> None:
    o = np.zeros(4, np.float32)
    w = np.array([0.125, -0.125, 0, 0], np.float32)
    assert inside_linf(o, w, Fraction(1, 8))
    assert inside_l2(np.zeros(2, np.float32), np.array([0.375, 0.5], np.float32), Fraction(5, 8))
    assert inside_l1(np.zeros(2, np.float32), np.array([0.375, -0.25], np.float32), Fraction(5, 8))
    w[0] = np.nextafter(w[0], np.float32(1))
    assert not inside_linf(o, w, Fraction(1, 8))
    tiny = np.array([5 / 8, 1e-30], np.float32)  # float64 does not see the second pixel; the integers do
    assert not inside_l2(np.zeros(2, np.float32), tiny, Fraction(5, 8))
    assert not inside_l1(np.zeros(2, np.float32), tiny, Fraction(5, 8))
