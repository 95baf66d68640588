"""Count of passes: one forward and one backward of the network on one image, the unit of compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import final

import torch

_FULL, _FORWARD_ONLY = 3, 1


@final
class PassMeter:
    """Sum of passes. A forward without gradient counts as a third: a backward costs about two forwards."""

    __slots__ = ("_thirds",)

    def __init__(self, passes: float = 0.0) -> None:
        self._thirds = round(passes * _FULL)

    @property
    def passes(self) -> float:
        """Passes so far."""
        return self._thirds / _FULL

    def add(self, images: int, *, backward: bool) -> None:
        """Count a forward of `images` images, and their backward if there is one."""
        self._thirds += images * (_FULL if backward else _FORWARD_ONLY)


_meters: ContextVar[tuple[PassMeter, ...]] = ContextVar("meters", default=())


@contextmanager
def counting(meter: PassMeter) -> Iterator[PassMeter]:
    """Count the passes of every Classifier that runs inside the context, copies included, in `meter` too."""
    token = _meters.set((*_meters.get(), meter))
    try:
        yield meter
    finally:
        _meters.reset(token)


_checks: ContextVar[tuple[Callable[[], None], ...]] = ContextVar("checks", default=())


@contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before every forward of a Classifier or a session inside the context.

    Args:
        check: raises an exception to end the work.
    """
    token = _checks.set((*_checks.get(), check))
    try:
        yield
    finally:
        _checks.reset(token)


@contextmanager
def uncounted() -> Iterator[None]:
    """Exclude the work inside the context from counts and interruptions."""
    meters, checks = _meters.set(()), _checks.set(())
    try:
        yield
    finally:
        _meters.reset(meters)
        _checks.reset(checks)


def check_interruption() -> None:
    """Call the checks of `interruptible`; called before a network or a runtime runs."""
    for check in _checks.get():
        check()


def count(images: int) -> None:
    """Count a forward of the network on `images` images; called by Classifier."""
    check_interruption()
    for meter in _meters.get():
        meter.add(images, backward=torch.is_grad_enabled())
