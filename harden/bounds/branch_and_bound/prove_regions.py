"""Branch and bound: what one relaxation leaves open is cut into parts until each is proved, or time is up."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import final

import torch

from harden.bounds.branch_and_bound.relu_splits import Signs, rectified
from harden.bounds.branch_and_bound.search import Answers, PartSearch
from harden.bounds.branch_and_bound.splits import Boxes, Questions, Split
from harden.bounds.crown.alpha import Climb
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.intermediate_bounds import sharpened
from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True)
class Branching:
    """How long parts are cut, and how.

    Nothing is drawn at random: without a time limit the same question has the same answer. With one, how far
    the search comes depends on the machine; whether a proof is true does not.

    Args:
        seconds: at most so long for one call, up to one round of bounds; None for no limit.
        parts: at most so many parts of one question are bounded; None for no limit.
        steps: of Adam on slopes and multipliers of each part.
        rate: of Adam.
        axes: an input of at most so many numbers is bisected, as is that of a network without rectifiers;
            of other networks the signs of rectifiers' inputs are chosen.
        kept: with more open parts of one question, the best are cut first and not the worst.
    """

    seconds: float | None = 60.0
    parts: int | None = None
    steps: int = 5
    rate: float = 0.2
    axes: int = 8
    kept: int = 2**14

    def __post_init__(self) -> None:
        if self.seconds is None and self.parts is None:
            raise InputError(
                "branching without a limit", "one of seconds or parts", "write Branching(seconds=60)"
            )

    def __call__(self, found: Relaxation, asked: Questions) -> Answers:
        """Search until all questions are proved or broken, or a limit is reached.

        Args:
            found: all intervals of the regions that are asked about.
            asked: what is to be proved.
        """
        until = math.inf if self.seconds is None else time.monotonic() + self.seconds
        search = self.search(found, asked, until)
        search.run(until)
        return search.answers()

    def search(self, found: Relaxation, asked: Questions, until: float = math.inf) -> PartSearch:
        """The search before its first part: for who wants to look at it on the way, and to go on.

        Args:
            found: all intervals of the regions that are asked about.
            asked: what is to be proved.
            until: by `time.monotonic`, when it will have to end.
        """
        with torch.no_grad():
            return PartSearch(found, asked, self._split(found, asked, until), self.parts, self.kept)

    def within(self, begin: float, shares: int) -> Branching:
        """The same with one of several equal shares of the seconds that are left since `begin`."""
        if self.seconds is None:
            return self
        left = self.seconds - (time.monotonic() - begin)
        return replace(self, seconds=max(left, 0.0) / shares)

    def before(self, until: float) -> Branching:
        """The same that has ended by a time of `time.monotonic`, up to one round of bounds."""
        if until == math.inf:
            return self
        left = max(until - time.monotonic(), 0.0)
        return replace(self, seconds=left if self.seconds is None else min(self.seconds, left))

    def _split(self, found: Relaxation, asked: Questions, until: float) -> Split:
        few = found.region.lower[0].numel() <= self.axes if len(found.region) else True
        if few or not rectified(found):
            return Boxes(found, asked)
        # Parts keep the intervals of the whole but for what their signs change: those are worth some work.
        # With little time, a quarter of it: the search has to have some.
        last = None
        if until < math.inf:
            now = time.monotonic()
            last = now + (until - now) / 4
        return Signs(sharpened(found, Climb(steps=10), last), asked, self.steps, self.rate)
