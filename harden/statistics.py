"""Proportions with exact binomial confidence intervals."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import SupportsIndex, final

import numpy as np
from scipy import special

from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True)
class Proportion:
    """A count of n independent examples with a property, and the exact interval of its probability.

    Args:
        count: number of examples with the property, 0 <= count <= n.
        n: number of examples, at least 1.
        confidence: minimum coverage of the interval, in (0, 1).

    Raises:
        InputError: n is 0, count is outside 0..n, or confidence is outside (0, 1).
    """

    count: int
    n: int
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("count", "n"):
            object.__setattr__(self, name, _integer(name, getattr(self, name)))
        if self.n < 1:
            raise InputError(
                f"a proportion over n = {self.n} examples",
                "at least one example",
                "check that the data set, or the part of it that was selected, is not empty",
            )
        if not 0 <= self.count <= self.n:
            raise InputError(
                f"a count of {self.count} among n = {self.n}",
                "0 <= count <= n",
                "pass the number of examples with the property, then the number of all examples",
            )
        if not 0.0 < self.confidence < 1.0:
            raise InputError(
                f"a confidence of {self.confidence}", "a number in (0, 1)", "write 0.95 for 95 %"
            )

    @classmethod
    def of(cls, mask: Iterable[bool], confidence: float = 0.95) -> Proportion:
        """Count the true entries of a mask of shape (N,): a sequence, an array, or a tensor on any device.

        Raises:
            InputError: the mask is empty, has more than one axis, or is not boolean.
        """
        # A tensor has a method to the host; torch is not imported here.
        on_host = getattr(mask, "cpu", lambda: mask)()
        array = np.asarray(on_host if hasattr(on_host, "__len__") else list(on_host))
        if array.ndim != 1 or (array.size and array.dtype != np.bool_):
            raise InputError(
                f"a mask of dtype {array.dtype} and shape {array.shape}",
                "booleans of shape (N,)",
                "pass a comparison such as predicted == y",
            )
        return cls(int(array.sum()), array.size, confidence)

    @property
    def value(self) -> float:
        """Give count / n, in [0, 1]."""
        return self.count / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Give the exact two-sided interval of Clopper and Pearson (1934).

        With a = 1 - confidence and K ~ Binomial(n, p): low is the p at which P(K >= count) = a/2 (0 when
        count = 0), high the p at which P(K <= count) = a/2 (1 when count = n). Guarantee: for every p, the
        probability that the interval contains p is at least the confidence, provided the n examples are
        independent draws from the population.
        """
        tail = (1.0 - self.confidence) / 2.0
        below, above = self.count, self.n - self.count
        low = float(special.betaincinv(below, above + 1, tail)) if below else 0.0
        high = float(special.betainccinv(below + 1, above, tail)) if above else 1.0
        return low, high

    def __str__(self) -> str:
        low, high = self.interval
        # Rounded outwards: the printed interval must not be narrower than the computed one.
        low, high = math.floor(low * 1000) / 10, math.ceil(high * 1000) / 10
        return f"{self._percent()} % [{low:.1f}, {high:.1f}] (n = {self.n})"

    def _percent(self) -> str:
        """Write the value with one decimal, or more where it would otherwise be rounded to 0 or 100."""
        for decimals in range(1, 12):
            text = f"{100 * self.value:.{decimals}f}"
            if not 0 < self.count < self.n or 0.0 < float(text) < 100.0:
                return text
        return repr(100 * self.value)


def _integer(name: str, value: SupportsIndex) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(
            f"{name} = {value!r}", "an integer", f"write int({name}) if it is one in value"
        ) from None
