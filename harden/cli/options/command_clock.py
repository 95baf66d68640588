"""The time since a command began: a limit in minutes is one of the whole command, loading included."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from harden.errors import InputError

Found = TypeVar("Found")
_began: ContextVar[float | None] = ContextVar("began", default=None)


def start() -> None:
    """A command begins."""
    _began.set(time.monotonic())


def minutes_left(minutes: float | None) -> float | None:
    """The remainder of a limit in minutes; None where there is none.

    Raises:
        InputError: it is not positive, or nothing of it is left.
    """
    from harden.errors import InputError

    if minutes is None:
        return None
    if not minutes > 0:
        raise InputError(f"--minutes {minutes:g}", "a positive number", "write --minutes 5")
    left = minutes - _passed()
    if left <= 0:
        raise _over(minutes)
    return left


@contextmanager
def within(minutes: float | None) -> Iterator[None]:
    """Interrupt loading and checks inside the context once a limit in minutes is over.

    Raises:
        InputError: it was over.
    """
    from harden.evaluation.time_limit import OutOfTime

    if minutes is None:
        yield
        return
    try:
        with _ending(minutes):
            yield
    except OutOfTime:
        raise _over(minutes) from None


def finished(minutes: float | None, work: Callable[[], Found]) -> Found | None:
    """The result of some work, or None where a limit in minutes was over before its end."""
    from harden.evaluation.time_limit import OutOfTime

    if minutes is None:
        return work()
    try:
        with _ending(minutes):
            return work()
    except OutOfTime:
        return None


@contextmanager
def _ending(minutes: float) -> Iterator[None]:
    from harden.evaluation.time_limit import OutOfTime
    from harden.models.pass_count import interruptible

    def check() -> None:
        if _passed() >= minutes:
            raise OutOfTime

    with interruptible(check):
        yield


def _passed() -> float:
    began = _began.get()
    return 0.0 if began is None else (time.monotonic() - began) / 60


def _over(minutes: float) -> InputError:
    from harden.errors import InputError

    return InputError(
        f"{minutes:g} minutes, which were over before an image was attacked",
        "time to load model and data, and for one image at least",
        "give it more minutes",
    )
