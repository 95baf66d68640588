"""The time limit of an evaluation: the number of images that are evaluated next, and when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

from torch import Tensor

from harden.errors import InputError
from harden.losses import Classify

_PROBING: Final = 0.2
"""Share of the time that probing the first images may take, as far as it can be predicted."""

_NEXT: Final = 0.3
"""Share of the remaining time that the next images may take: an unfinished part is lost at the end."""

_TINY = 1e-9  # seconds
_GROWTH = 4
_SHRINKING = 4


class OutOfTime(BaseException):
    """Time is up. A signal and no error: a user's own attack that catches its failures does not catch it."""


@final
class TimeLimit:
    """The time limit of an evaluation, and the number of images that fit into the remaining time.

    Without a limit every batch is taken whole. With one, a batch is taken in parts. Before the first is
    finished, its size comes from what an image costs at most, and it may take half of the remaining time:
    where it takes longer, a quarter of its images is tried anew, down to a single one. Later sizes come from
    the seconds that an image took, at 0.3 of the remaining time. So a batch that is not finished
    costs little, and one image suffices for a result.

    Args:
        minutes: in all; None for no limit.

    Attributes:
        probed: number of the first images that are probed; None for as many as without a limit.

    Raises:
        InputError: minutes are not positive.
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
        """Return whether there is a limit."""
        return self._seconds is not None

    @property
    def left(self) -> float:
        """Remaining seconds; infinite without a limit."""
        return float("inf") if self._seconds is None else self._seconds - self._passed

    def is_over(self) -> bool:
        """Return whether the time of the current part is up."""
        return self._until is not None and self._passed > self._until

    def check(self) -> None:
        """End the current part where its time is up.

        Raises:
            OutOfTime: it is.
        """
        if self.is_over():
            raise OutOfTime

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Suspend the limit: parts that were finished before are read whatever the time."""
        until, self._until = self._until, None
        try:
            yield
        finally:
            self._until = until

    def limit_judge(self, judge: Classify, network: Classify) -> Classify:
        """A judge that ends when time is up; the network itself does so already."""
        if not self.limited or judge == network:
            return judge

        def stopping(x: Tensor) -> Tensor:
            self.check()
            return judge(x)

        return stopping

    def expect(self, probe: float, attacks: float) -> None:
        """Set the first sizes by upper bounds on the seconds per image of probing and of attacks."""
        if self.limited:
            self.probed = max(1, int(_PROBING * self.left / max(probe, _TINY)))
            self._most = max(1, int(_NEXT * self.left / max(attacks, _TINY)))

    def size(self, most: int) -> int:
        """The number of images to evaluate next, from 1 to `most`; starts their time."""
        found = most if self._most is None else max(1, min(most, self._most))
        if self._seconds is not None:
            last_chance = self._finished or found == 1
            self._until = self._seconds if last_chance else self._passed + self.left / 2
        return found

    def finished(self, size: int, seconds: float) -> None:
        """Record the number of evaluated images and the seconds that the attacks on them took."""
        self._finished = True
        if self.limited and seconds > 0:
            fitting = int(_NEXT * self.left * size / seconds)
            self._most = max(1, min(fitting, _GROWTH * size))

    def given_up(self, size: int) -> bool:
        """Record that time was up for `size` images; whether the evaluation ends, else fewer are next."""
        if self._finished or size == 1 or self.left <= 0:
            return True
        self._most = max(1, size // _SHRINKING)
        return False

    @property
    def _passed(self) -> float:
        return time.monotonic() - self._began
