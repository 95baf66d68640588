"""Sample sizes and detectable differences, reported with an INCONCLUSIVE verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from scipy import special

from harden.regression.paired_comparison import Pairs, lower_bound, p_worse, smallest_visible

POWER = 0.8
"""The chance with which a drop counts as one that can be seen."""

_MOST = 10_000_000


@final
@dataclass(frozen=True, slots=True)
class Outlook:
    """What an undecided comparison would need.

    Attributes:
        needed: images from which on every outcome is PASS or FAIL, at the discordance that was seen.
        visible: the smallest true drop that this n finds with a chance of `POWER`.
        discordance: the share of images that is reckoned with.
    """

    needed: int
    visible: float
    discordance: float


def outlook(pairs: Pairs, margin: float, alpha: float, level: float) -> Outlook:
    """Say what would decide.

    Args:
        pairs: what was counted. The discordance is taken to be (discordant + 1) / (n + 2), never 0.
        margin: the drop that is to be excluded.
        alpha: of the bounds.
        level: of McNemar's test, alpha or less where there are several checks.
    """
    discordance = (pairs.discordant + 1) / (pairs.n + 2)
    return Outlook(
        needed=max(needed(discordance, margin, alpha, level), pairs.n + 1),
        visible=smallest_visible(pairs.n, discordance, level, POWER),
        discordance=discordance,
    )


def needed(discordance: float, margin: float, alpha: float, level: float) -> int:
    """Give the n at which no split of the expected discordant images is undecided, up to integers' steps.

    In normal approximation PASS is an estimate above -margin + z s / sqrt(n), FAIL one below
    -z' s / sqrt(n), with s^2 = discordance: from n = ((z + z') s / margin)^2 on nothing is between them. The
    rules themselves are evaluated from there upwards, in steps of 1 %.
    """
    quantiles = float(special.ndtri(1 - alpha) + special.ndtri(1 - level))
    n = max(1, math.floor(quantiles**2 * discordance / margin**2 * 0.9))
    while n < _MOST and not _always_decides(n, round(n * discordance), margin, alpha, level):
        n += max(1, n // 100)
    return n


def _always_decides(n: int, discordant: int, margin: float, alpha: float, level: float) -> bool:
    """Whether one image more than the most gains that FAIL is a PASS."""
    low, high = -1, discordant + 1
    while high - low > 1:
        middle = (low + high) // 2
        fails = p_worse(middle, discordant - middle) < level and (
            lower_bound(n, discordant - middle, middle, alpha) > 0
        )
        low, high = (middle, high) if fails else (low, middle)
    return high > discordant or lower_bound(n, high, discordant - high, alpha) > -margin
