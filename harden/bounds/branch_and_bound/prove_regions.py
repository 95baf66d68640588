"""Branch and bound over regions that one relaxation does not prove, until each part is or time is up."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import final

import torch

from harden.bounds.branch_and_bound.relu_splits import SignSplit, rectifier_inputs
from harden.bounds.branch_and_bound.search import PartSearch, QueryResults
from harden.bounds.branch_and_bound.splits import InputSplit, Split, VerificationQueries
from harden.bounds.crown.alpha import SlopeAscent
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.intermediate_bounds import sharpen
from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True)
class Branching:
    """Branch and bound: its limits, and how regions are split.

    Nothing is drawn at random: without a time limit the same query has the same answer. With one, how far
    the search comes depends on the machine; whether a proof is true does not.

    Args:
        seconds: at most so long for one call, up to one round of bounds; None for no limit.
        parts: at most so many parts of one query are bounded; None for no limit.
        steps: of Adam on slopes and multipliers of each part.
        rate: of Adam.
        axes: an input of at most so many numbers is bisected, as is that of a network without rectifiers;
            of other networks the signs of rectifiers' inputs are chosen.
        kept: with more open parts of one query, the best are cut first and not the worst.
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

    def __call__(self, found: Relaxation, queries: VerificationQueries) -> QueryResults:
        """Search until all queries are proved or broken, or a limit is reached.

        Args:
            found: all intervals of the regions that the queries are about.
            queries: what is to be proved.
        """
        until = math.inf if self.seconds is None else time.monotonic() + self.seconds
        search = self.search(found, queries, until)
        search.run(until)
        return search.answers()

    def search(self, found: Relaxation, queries: VerificationQueries, until: float = math.inf) -> PartSearch:
        """The search before its first part, for callers that inspect and continue it.

        Args:
            found: all intervals of the regions that the queries are about.
            queries: what is to be proved.
            until: by `time.monotonic`, when it will have to end.
        """
        with torch.no_grad():
            return PartSearch(found, queries, self._split(found, queries, until), self.parts, self.kept)

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

    def _split(self, found: Relaxation, queries: VerificationQueries, until: float) -> Split:
        few = found.region.lower[0].numel() <= self.axes if len(found.region) else True
        if few or not rectifier_inputs(found):
            return InputSplit(found, queries)
        # Parts keep the intervals of the whole but for what their signs change: those are worth some work.
        # With little time, a quarter of it: the search has to have some.
        last = None
        if until < math.inf:
            now = time.monotonic()
            last = now + (until - now) / 4
        return SignSplit(sharpen(found, SlopeAscent(steps=10), last), queries, self.steps, self.rate)
