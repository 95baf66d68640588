"""Two models on the same images: what the pairs say about the difference of their accuracies.

Of n images b are gained (wrong before, right now) and c lost; the others say nothing about the difference
d = P(gained) - P(lost), which is estimated by (b - c) / n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from harden.errors import InputError
from harden.statistics import Proportion

_HALVINGS = 60


@final
@dataclass(frozen=True, slots=True)
class Pairs:
    """The counts of a paired comparison.

    Args:
        n: images.
        both: right before and now.
        gained: wrong before, right now.
        lost: right before, wrong now.

    Raises:
        InputError: no images, a negative count, or more pairs than images.
    """

    n: int
    both: int
    gained: int
    lost: int

    def __post_init__(self) -> None:
        counts = (self.both, self.gained, self.lost)
        if self.n < 1 or min(counts) < 0 or sum(counts) > self.n:
            raise InputError(
                f"n = {self.n} with {self.both} kept, {self.gained} gained, {self.lost} lost",
                "at least one image, and counts that add up to n at most",
                "count pairs of the same images, before and now",
            )

    @classmethod
    def of(cls, before: NDArray[np.bool_], now: NDArray[np.bool_]) -> Pairs:
        """Count pairs of two masks (n,) over the same images in the same order.

        Raises:
            InputError: they are not booleans of one length.
        """
        if before.dtype != np.bool_ or now.dtype != np.bool_ or before.ndim != 1 or before.shape != now.shape:
            raise InputError(
                f"masks of dtype {before.dtype} and {now.dtype}, shape {before.shape} and {now.shape}",
                "two masks of booleans over the same images",
                "evaluate both models on the same images in the same order",
            )
        both, gained, lost = (before & now).sum(), (~before & now).sum(), (before & ~now).sum()
        return cls(len(now), int(both), int(gained), int(lost))

    @property
    def before(self) -> Proportion:
        """Accuracy before."""
        return Proportion(self.both + self.lost, self.n)

    @property
    def now(self) -> Proportion:
        """Accuracy now."""
        return Proportion(self.both + self.gained, self.n)

    @property
    def difference(self) -> float:
        """Accuracy now less accuracy before."""
        return (self.gained - self.lost) / self.n

    @property
    def discordant(self) -> int:
        """Images that the two answer differently, as to right and wrong."""
        return self.gained + self.lost

    def lower(self, alpha: float) -> float:
        """Give the one-sided lower bound at level 1 - alpha; see `lower_bound`."""
        return lower_bound(self.n, self.gained, self.lost, alpha)

    def upper(self, alpha: float) -> float:
        """Give the one-sided upper bound at level 1 - alpha: the lower one of the reversed comparison."""
        return -lower_bound(self.n, self.lost, self.gained, alpha)

    @property
    def p_worse(self) -> float:
        """Give the exact one-sided p-value of McNemar (1947) for a drop; see `p_worse`."""
        return float(p_worse(self.gained, self.lost))


def p_worse(gained: int | NDArray[np.int64], lost: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Give P(B <= gained) for B ~ Binomial(gained + lost, 1/2), elementwise; 1 where nothing is discordant.

    Guarantee: without a difference, the chance of a value below alpha is at most alpha, whatever n and
    the discordance.
    """
    b, t = np.asarray(gained), np.asarray(gained) + np.asarray(lost)
    # P(B <= b) as a regularised incomplete beta function; it is 1 at b = t, where that one has no value.
    inside = b < t
    found = special.betainc(np.where(inside, t - b, 1.0), b + 1.0, 0.5)
    return np.asarray(np.where(inside, found, 1.0), dtype=np.float64)


def score(
    n: int, gained: float | NDArray[np.float64], lost: float | NDArray[np.float64], difference: float
) -> NDArray[np.float64]:
    """Give how many standard errors the pairs lie above a difference, elementwise, less one image.

    Tango's score statistic (Statistics in Medicine 17, 1998): the variance is that of the likeliest
    probabilities among those with this very difference. Moved by one image, because on integers the
    statistic by itself passes more than alpha. Where it is positive it falls as the difference rises.
    """
    b, c = np.asarray(gained, dtype=np.float64), np.asarray(lost, dtype=np.float64)
    linear = (2 * n - b + c) * difference - b - c
    root = np.sqrt(np.maximum(linear**2 + 8 * n * c * difference * (1 - difference), 0.0))
    likeliest_loss = (root - linear) / (4 * n)
    variance = n * (2 * likeliest_loss + difference * (1 - difference))
    distance = b - c - n * difference - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        found = distance / np.sqrt(np.maximum(variance, 0.0))
    return np.asarray(np.where(distance == 0, 0.0, found), dtype=np.float64)


def lower_bound(n: int, gained: int, lost: int, alpha: float) -> float:
    """Give the largest difference that the pairs lie significantly above, in [-1, 1].

    The d at which `score` equals the (1 - alpha) quantile of the normal distribution. Its coverage was not
    taken from theory but summed exactly (`benchmarks/gate_coverage.py`): for n from 10 to 10,000 and margins
    of 0.5 to 5 points a true difference lies below it with probability 0.0483 at most at alpha = 0.05 where
    at most half of the images are discordant, and 0.0501 at most where all are.

    Raises:
        InputError: alpha is not in (0, 0.5].
    """
    if not 0.0 < alpha <= 0.5:
        raise InputError(f"alpha = {alpha}", "a number above 0 and at most 0.5", "write 0.05 for 5 %")
    quantile = -float(special.ndtri(alpha))
    low, high = -1.0, (gained - lost) / n
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if score(n, gained, lost, middle) > quantile else (low, middle)
    return low


def smallest_visible(n: int, discordance: float, alpha: float, power: float = 0.8) -> float:
    """Give the smallest true drop that McNemar's test sees in n images with a chance of `power`.

    Exact but for the sum over the number of discordant images, of which 1e-9 is left out; a drop of more
    than the discordance comes with as much discordance as it needs. 1.0 where even that is not seen.
    """
    if seen(n, discordance, 1.0, alpha) < power:
        return 1.0
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if seen(n, discordance, middle, alpha) >= power else (middle, high)
    return high


def seen(n: int, discordance: float, drop: float, alpha: float) -> float:
    """Give the chance that McNemar's exact test finds a true drop at level alpha."""
    share = min(max(discordance, drop), 1.0)
    spread = 7 * math.sqrt(n * share) + 10
    t = np.arange(max(0, int(n * share - spread)), min(n, int(n * share + spread)) + 1)
    # The largest number of gains that is still significant, or -1.
    most = np.full(len(t), -1, dtype=np.int64)
    high = t.astype(np.int64)
    while np.any(high - most > 1):
        middle = (most + high) // 2
        significant = (middle >= 0) & (p_worse(middle, t - middle) < alpha)
        most, high = np.where(significant, middle, most), np.where(significant, high, middle)
    chance_gained = (share - drop) / 2 / share if share else 0.5
    found = np.where(most >= 0, _at_most(np.maximum(most, 0), t, chance_gained), 0.0)
    return float(np.sum(_binomial(t, n, share) * found))


def _at_most(b: NDArray[np.int64], t: NDArray[np.int64], chance: float) -> NDArray[np.float64]:
    inside = b < t
    found = special.betaincc(b + 1.0, np.where(inside, t - b, 1.0), chance)
    return np.asarray(np.where(inside, found, 1.0), dtype=np.float64)


def _binomial(k: NDArray[np.int64], n: int, chance: float) -> NDArray[np.float64]:
    ways = special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)
    return np.asarray(np.exp(ways + special.xlogy(k, chance) + special.xlog1py(n - k, -chance)))
