"""Counts the gradients that an attack could not use: those that hold NaN or an infinity."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import final

from torch import Tensor

from harden.kernels import not_finite
from harden.system.scoped_values import ContextStack


@final
class GradientMeter:
    """Adds up gradients, one for each example and step, and those of them that are not finite.

    Steps take such entries for zero, so an attack continues, but without a direction; a reader of its result
    should know. CUDA is not synchronised before `not_finite` is read.
    """

    __slots__ = ("_not_finite", "total")

    def __init__(self) -> None:
        self.total = 0
        self._not_finite: Tensor | None = None

    @property
    def not_finite(self) -> int:
        """Gradients so far that held NaN or an infinity."""
        return 0 if self._not_finite is None else int(self._not_finite)

    def add(self, gradient: Tensor) -> None:
        """Count the gradients (N, C, H, W) of N examples."""
        found = not_finite(gradient).sum()
        self.total += len(gradient)
        self._not_finite = found if self._not_finite is None else self._not_finite + found


_meters = ContextStack[GradientMeter]("gradient_meters")


def metering(meter: GradientMeter) -> AbstractContextManager[GradientMeter]:
    """Let every attack inside the context count its gradients into `meter` too."""
    return _meters.pushed(meter)


def unmetered() -> AbstractContextManager[None]:
    """Let no attack inside the context count: its gradients are no part of what is reported."""
    return _meters.emptied()


def count_gradients(gradient: Tensor) -> None:
    """Count the gradients of one step; called where attacks get them."""
    for meter in _meters:
        meter.add(gradient)
