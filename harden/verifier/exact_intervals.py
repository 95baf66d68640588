"""Exact binomial intervals without scipy, to check those of a certificate."""

from __future__ import annotations

import math
from functools import lru_cache

TOLERANCE = 1e-9
"""Largest difference, in probability, of a stored limit from the exact one."""


def interval_agrees(count: int, n: int, low: float, high: float, confidence: float) -> bool:
    """Return whether [low, high] is the Clopper-Pearson interval of `count` of `n`, within 1e-9 at each end.

    With a = (1 - confidence) / 2, low solves P(X >= count | n, low) = a and high solves
    P(X <= count | n, high) = a; low = 0 when count = 0, high = 1 when count = n. Both tails are monotonic in
    the rate, so each limit is right exactly when the tail crosses a within 1e-9 around it.
    """
    tail = (1.0 - confidence) / 2.0
    return _is_low(count, n, low, tail) and _is_low(n - count, n, 1.0 - high, tail)


@lru_cache(maxsize=4096)
def _is_low(count: int, n: int, low: float, tail: float) -> bool:
    if count == 0:
        return abs(low) <= TOLERANCE
    below = upper_tail(count, n, max(low - TOLERANCE, 0.0))
    above = upper_tail(count, n, min(low + TOLERANCE, 1.0))
    return below <= tail <= above


def upper_tail(count: int, n: int, rate: float) -> float:
    """P(X >= count) for X binomial(n, rate), 1 <= count <= n: the regularised incomplete beta I_rate(a, b).

    a = count, b = n - count + 1; by its continued fraction (Lentz), on the side where that converges fast.
    """
    if rate <= 0.0:
        return 0.0
    if rate >= 1.0:
        return 1.0
    a, b = float(count), float(n - count + 1)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(rate) + b * math.log1p(-rate))
    if rate < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(a, b, rate) / a
    return 1.0 - front * _fraction(b, a, 1.0 - rate) / b


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0), tiny)
    value = d
    for step in range(1, 100_000):  # converges in O(sqrt(max(a, b))) steps
        m = float(step)
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d, tiny)
            c = _away(1.0 + term / c, tiny)
            change = c * d
            value *= change
        if abs(change - 1.0) < 1e-16:
            break
    return value


def _away(value: float, tiny: float) -> float:
    return tiny if abs(value) < tiny else value
