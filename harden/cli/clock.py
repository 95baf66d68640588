"""The time since a command began: a limit in minutes is one of the whole command, loading included."""

from __future__ import annotations

import time
from contextvars import ContextVar

_began: ContextVar[float | None] = ContextVar("began", default=None)


def start() -> None:
    """A command begins."""
    _began.set(time.monotonic())


def minutes_left(minutes: float | None) -> float | None:
    """What is left of a limit in minutes; None where there is none.

    Raises:
        InputError: it is not positive, or nothing of it is left.
    """
    from harden.errors import InputError

    began = _began.get()
    if minutes is None or began is None:
        return minutes
    if not minutes > 0:
        raise InputError(f"--minutes {minutes:g}", "a positive number", "write --minutes 5")
    passed = (time.monotonic() - began) / 60
    if passed >= minutes:
        raise InputError(
            f"{minutes:g} minutes, which were over when model and data were loaded",
            f"more than {passed:.2g} minutes, and time for one image at least",
            "give it more minutes",
        )
    return minutes - passed
