from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harden.errors import InputError
from harden.statistics import Proportion


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize("n", [1, 2, 7, 30])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_coverage_is_at_least_the_confidence_by_exact_enumeration(n: int, confidence: float) -> None:
    intervals = [Proportion(k, n, confidence).interval for k in range(n + 1)]
    for p in np.linspace(0.0, 1.0, 201):
        covered = sum(binomial(k, n, p) for k, (low, high) in enumerate(intervals) if low <= p <= high)
        assert covered >= confidence - 1e-12


@pytest.mark.parametrize(("count", "n"), [(1, 10), (5, 10), (583, 599), (9_999, 10_000)])
def test_each_end_leaves_half_of_the_error_in_its_tail(count: int, n: int) -> None:
    low, high = Proportion(count, n).interval
    assert stats.binom.sf(count - 1, n, low) == pytest.approx(0.025, rel=1e-6)
    assert stats.binom.cdf(count, n, high) == pytest.approx(0.025, rel=1e-6)


@pytest.mark.parametrize("n", [1, 3, 599, 10_000])
def test_none_and_all(n: int) -> None:
    # P(no success | p) = (1 - p)^n = 0.025
    high = 1 - 0.025 ** (1 / n)
    assert Proportion(0, n).interval == pytest.approx((0.0, high))
    assert Proportion(n, n).interval == pytest.approx((1 - high, 1.0))
    assert Proportion(0, n).interval[0] == 0.0
    assert Proportion(n, n).interval[1] == 1.0


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_value_agrees_with_scipy_and_mirrors(case: tuple[int, int]) -> None:
    count, n = case
    low, high = Proportion(count, n).interval
    assert 0.0 <= low <= count / n <= high <= 1.0
    expected = stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    mirrored = Proportion(n - count, n).interval
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


def test_wider_confidence_gives_a_wider_interval() -> None:
    narrow, wide = Proportion(40, 100, 0.9).interval, Proportion(40, 100, 0.999).interval
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize(
    ("count", "n", "text"),
    [
        (583, 599, "97.3 % [95.6, 98.5] (n = 599)"),
        (0, 10, "0.0 % [0.0, 30.9] (n = 10)"),
        (10, 10, "100.0 % [69.1, 100.0] (n = 10)"),
        # Neither of these may read 100 or 0.
        (9_999, 10_000, "99.99 % [99.9, 100.0] (n = 10000)"),
        (1, 100_000, "0.001 % [0.0, 0.1] (n = 100000)"),
    ],
)
def test_prints_with_the_interval_rounded_outwards(count: int, n: int, text: str) -> None:
    assert str(Proportion(count, n)) == text


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_printed_interval_is_never_narrower(case: tuple[int, int]) -> None:
    proportion = Proportion(*case)
    low, high = (float(end) / 100 for end in str(proportion).split("[")[1].split("]")[0].split(","))
    assert low <= proportion.interval[0] + 1e-15
    assert high >= proportion.interval[1] - 1e-15


@pytest.mark.parametrize(
    "mask", [[True, False, True], np.array([True, False, True]), torch.tensor([True, False, True])]
)
def test_of_counts_a_mask(mask: list[bool]) -> None:
    assert Proportion.of(mask) == Proportion(2, 3)


def test_of_takes_an_iterator_and_a_confidence() -> None:
    assert Proportion.of((k > 1 for k in range(4)), confidence=0.9) == Proportion(2, 4, 0.9)


@pytest.mark.parametrize(
    ("count", "n", "confidence", "seen"),
    [
        (0, 0, 0.95, "n = 0"),
        (-1, 5, 0.95, "count of -1"),
        (6, 5, 0.95, "count of 6"),
        (1, 5, 95.0, "confidence of 95.0"),
        (1, 5, float("nan"), "confidence of nan"),
        (0.5, 5, 0.95, "count = 0.5"),
    ],
)
def test_refuses(count: int, n: int, confidence: float, seen: str) -> None:
    with pytest.raises(InputError, match=seen):
        Proportion(count, n, confidence)


@pytest.mark.parametrize("mask", [[], [0.2, 0.9], [[True], [False]], torch.tensor([1, 0])])
def test_of_refuses_what_is_no_mask(mask: list[bool]) -> None:
    with pytest.raises(InputError):
        Proportion.of(mask)


def test_numpy_counts_become_plain_integers() -> None:
    assert type(Proportion(np.int64(3), np.int64(5)).count) is int  # type: ignore[arg-type]
