from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from harden.verifier.exact_intervals import interval_agrees, upper_tail


def exact(count: int, n: int, confidence: float) -> tuple[float, float]:
    a = (1 - confidence) / 2
    low = float(beta.ppf(a, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - a, count + 1, n - count)) if count < n else 1.0
    return low, high


counts = st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(deadline=None, max_examples=200)
@given(counts, st.sampled_from([0.8, 0.95, 0.99, 0.999]))
def test_exact_limits_agree_and_others_do_not(pair: tuple[int, int], confidence: float) -> None:
    count, n = pair
    low, high = exact(count, n, confidence)
    assert interval_agrees(count, n, low, high, confidence)
    for off in (3e-9, -3e-9, 1e-4):
        assert not interval_agrees(count, n, low + off, high, confidence)
        assert not interval_agrees(count, n, low, high + off, confidence)
    assert not interval_agrees(count, n, low, high, confidence - 0.01)


@settings(deadline=None, max_examples=200)
@given(counts, st.floats(0, 1))
def test_the_tail_is_the_binomial_one(pair: tuple[int, int], rate: float) -> None:
    count, n = max(pair[0], 1), pair[1]
    assert math.isclose(upper_tail(count, n, rate), binom.sf(count - 1, n, rate), rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("n", [1, 100, 1_000_000])
def test_ends(n: int) -> None:
    assert interval_agrees(0, n, *exact(0, n, 0.95), 0.95)
    assert interval_agrees(n, n, *exact(n, n, 0.95), 0.95)
    assert interval_agrees(n // 2, n, *exact(n // 2, n, 0.95), 0.95)
