"""Counts passes: one forward and one backward of the network on one image, the unit of compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import final

import torch

from harden.system.scoped_values import ContextStack

_FULL, _FORWARD_ONLY = 3, 1


@final
class PassMeter:
    """Adds up passes. A forward without gradient counts as a third: a backward costs about two forwards."""

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

    def include(self, passes: float) -> None:
        """Add passes that were counted elsewhere, such as in another process."""
        self._thirds += round(passes * _FULL)


_meters = ContextStack[PassMeter]("meters")
_checks = ContextStack[Callable[[], None]]("checks")


def counting(meter: PassMeter) -> AbstractContextManager[PassMeter]:
    """Let every Classifier that runs inside the context, copies included, count into `meter` too."""
    return _meters.pushed(meter)


@contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` before every forward of a Classifier or a session inside the context: it may end the work.

    Args:
        check: raises an exception to end the work.
    """
    with _checks.pushed(check):
        yield


@contextmanager
def uncounted() -> Iterator[None]:
    """Count and interrupt nothing inside the context: work that is no part of the measurement."""
    with _meters.emptied(), _checks.emptied():
        yield


def check_interruption() -> None:
    """End the work where a context has it end here; called where a network or a runtime is about to run."""
    for check in _checks:
        check()


def count(images: int) -> None:
    """Count a forward of the network on `images` images; called by Classifier."""
    check_interruption()
    for meter in _meters:
        meter.add(images, backward=torch.is_grad_enabled())
