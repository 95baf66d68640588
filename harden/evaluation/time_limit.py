"""How an evaluation keeps to its minutes: how many images it takes next, and when it stops."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

from torch import Tensor

from harden.errors import InputError
from harden.losses import Classify

_PROBING: Final = 0.2
"""Share of the time that probing the first images may take, as far as that can be told before."""

_NEXT: Final = 0.3
"""Share of the time left that the next images may take: what is under way when time is up is lost."""

_TINY = 1e-9  # seconds
_GROWTH = 4
_SHRINKING = 4


class OutOfTime(BaseException):
    """Time is up. A signal and no error: an attack of a user's own that catches its failures lets it pass."""


@final
class TimeLimit:
    """The time that an evaluation has, and the number of images that fit into what is left of it.

    Without a limit every batch is taken whole. With one, a batch is taken in parts. Before the first is
    finished, its size comes from what an image costs at most, and it may take half of the time that is left:
    where it takes longer, a quarter of its images is tried anew, down to a single one. Later sizes come from
    the seconds that an image took, at 0.3 of the time that is left. So a batch that would not be finished
    loses little, and one image suffices for a result.

    Args:
        minutes: in all; None for no limit.

    Attributes:
        probed: how many of the first images are probed; None for as many as without a limit.

    Raises:
        InputError: they are not positive.
    """

    def __init__(self, minutes: float | None) -> None:
        if minutes is not None and not minutes > 0:
            raise InputError(f"{minutes} minutes", "a positive number", "write minutes=5")
        self._seconds = None if minutes is None else 60 * minutes
        self._began = time.monotonic()
        self._until = self._seconds
        self._most: int | None = None
        self.probed: int | None = None
        self._finished = False

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self._seconds is not None

    @property
    def left(self) -> float:
        """Seconds that are left; infinite without a limit."""
        return float("inf") if self._seconds is None else self._seconds - self._passed

    def is_over(self) -> bool:
        """Whether the time of the part under way is up."""
        return self._until is not None and self._passed > self._until

    def check(self) -> None:
        """Stop what is under way where its time is up.

        Raises:
            OutOfTime: it is.
        """
        if self.is_over():
            raise OutOfTime

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop nothing inside: what was finished before is read whatever the time."""
        until, self._until = self._until, None
        try:
            yield
        finally:
            self._until = until

    def watched(self, judge: Classify, network: Classify) -> Classify:
        """A judge that stops where its time is up; one that is the network itself stops already."""
        if not self.limited or judge == network:
            return judge

        def stopping(x: Tensor) -> Tensor:
            self.check()
            return judge(x)

        return stopping

    def expect(self, probe: float, attacks: float) -> None:
        """Take in the seconds that an image costs at most, before any was evaluated: probed, and attacked."""
        if self.limited:
            self.probed = max(1, int(_PROBING * self.left / max(probe, _TINY)))
            self._most = max(1, int(_NEXT * self.left / max(attacks, _TINY)))

    def size(self, most: int) -> int:
        """How many of at most so many images are taken next, at least one; their time begins."""
        found = most if self._most is None else max(1, min(most, self._most))
        if self._seconds is not None:
            last_chance = self._finished or found == 1
            self._until = self._seconds if last_chance else self._passed + self.left / 2
        return found

    def finished(self, size: int, seconds: float) -> None:
        """So many images were evaluated, in so many seconds of attacks."""
        self._finished = True
        if self.limited and seconds > 0:
            fitting = int(_NEXT * self.left * size / seconds)
            self._most = max(1, min(fitting, _GROWTH * size))

    def given_up(self, size: int) -> bool:
        """Whether nothing more can be tried after so many images whose time was up; else fewer are next."""
        if self._finished or size == 1 or self.left <= 0:
            return True
        self._most = max(1, size // _SHRINKING)
        return False

    @property
    def _passed(self) -> float:
        return time.monotonic() - self._began
