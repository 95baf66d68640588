"""Schedules of the learning rate: factors on an optimiser's peak rate, as functions of a stage's progress."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol, final

from harden.errors import InputError

LEAST: Final = 0.01
"""Factor at the very beginning of a rise, where a factor of 0 would make a step of no length."""


class Schedule(Protocol):
    """A value that gives the factor on the peak learning rate, in [0, 1]."""

    def __call__(self, progress: float) -> float:
        """The factor at a share of the stage's budget, in [0, 1]."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Cosine:
    """f(p) = p / w for p < w, then (1 + cos(pi (p - w) / (1 - w))) / 2 (Loshchilov and Hutter, 1608.03983).

    Args:
        warmup: the share w of the stage over which the rate rises.

    Raises:
        InputError: w is outside [0, 1).
    """

    warmup: float = 0.1

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)

    def __call__(self, progress: float) -> float:
        """The factor at a share of the stage's budget."""
        if progress < self.warmup:
            return _rise(progress, self.warmup)
        return 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


@final
@dataclass(frozen=True, slots=True)
class OneCycle:
    """f(p) = p / w for p < w, then (1 - p) / (1 - w): linear to the peak and to 0 (Smith, 1708.07120).

    Args:
        warmup: the share w of the stage over which the rate rises.

    Raises:
        InputError: w is outside [0, 1).
    """

    warmup: float = 0.3

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)

    def __call__(self, progress: float) -> float:
        """The factor at a share of the stage's budget."""
        if progress < self.warmup:
            return _rise(progress, self.warmup)
        return (1 - progress) / (1 - self.warmup)


@final
@dataclass(frozen=True, slots=True)
class Piecewise:
    """f(p) = p / w for p < w, then factor^k after the k-th of the milestones: the schedule of TRADES' code.

    Args:
        milestones: shares of the stage at which the rate falls, in ascending order.
        factor: by which it is multiplied there.
        warmup: the share w of the stage over which the rate rises.

    Raises:
        InputError: w is outside [0, 1), the factor is outside (0, 1), or the milestones do not ascend within
            (w, 1).
    """

    milestones: tuple[float, ...] = (0.75, 0.9)
    factor: float = 0.1
    warmup: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        _check_warmup(self.warmup)
        inside = (self.warmup, *self.milestones, 1.0)
        if not all(low < high for low, high in pairwise(inside)):
            seen = f"milestones {self.milestones} after a warm-up of {self.warmup}"
            raise InputError(seen, "ascending shares of the stage below 1", "write milestones=(0.75, 0.9)")
        if not 0 < self.factor < 1:
            raise InputError(f"a factor of {self.factor}", "a number between 0 and 1", "write factor=0.1")

    def __call__(self, progress: float) -> float:
        """The factor at a share of the stage's budget."""
        if progress < self.warmup:
            return _rise(progress, self.warmup)
        return float(self.factor ** sum(progress >= milestone for milestone in self.milestones))


def _rise(progress: float, warmup: float) -> float:
    return max(progress / warmup, LEAST)


def _check_warmup(warmup: float) -> None:
    if not 0 <= warmup < 1:
        raise InputError(f"a warm-up of {warmup}", "a share of the stage in [0, 1)", "write warmup=0.1")
