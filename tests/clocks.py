"""A clock that forwards move, and that copies of a network and its restored condition leave alone."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol


class Clock(Protocol):
    """What holds a time."""

    now: float


def ticking(clock: Clock) -> Generator[None, float, None]:
    """Move the clock by what is sent. A generator can't be copied, so that all copies of a network share it.

    A clock that a network holds itself is part of its condition: harden copies it and sets it back.
    """

    def moving() -> Generator[None, float, None]:
        while True:
            clock.now += yield

    found = moving()
    next(found)
    return found
