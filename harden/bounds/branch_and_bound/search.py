"""Best-first search of branch and bound: the parts with the lowest bounds are split until each is proved."""

from __future__ import annotations

import heapq
import math
import time
from dataclasses import dataclass, field
from typing import Final, final

import torch
from torch import Tensor

from harden.bounds.branch_and_bound.splits import (
    Split,
    SubproblemBounds,
    SubproblemState,
    VerificationQueries,
)
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.coefficients import DenseCoefficients, per_image
from harden.bounds.crown.intermediate_bounds import at_once, relax
from harden.bounds.region import Region

WIDTH: Final = 32
"""Parts of one query that are cut at a time."""
MOST: Final = 512
"""Parts that are bounded at a time, of all queries."""
MEMORY: Final = 2**30
"""Bytes that all open parts may take: beyond, the query with most of them is given up."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class QueryResults:
    """Bounds and candidates that a search found, for each of Q queries.

    Args:
        bounds: (Q,), of the least over the region of the largest row . logits - limit: above 0 is a proof.
        points: (Q, ...) float32: where a counterexample is likeliest, to be replayed and not believed.
        likeliest: (Q,), at most so much is the largest row . logits - limit there: a counterexample if not
            above 0, and the search then ended.
        stopped: (Q,) bool, whether parts were still open when time was up; the others were answered, or ended
            at a limit that does not depend on time.
    """

    bounds: Tensor
    points: Tensor
    likeliest: Tensor
    stopped: Tensor


@final
@dataclass(frozen=True, slots=True, order=True)
class _Part:
    """An open part; the worst bound comes first, and of equals the earliest."""

    bound: float
    number: int
    place: int = field(compare=False)
    state: SubproblemState = field(compare=False)


@final
class PartSearch:
    """All queries side by side; what happens to one does not depend on the others.

    Args:
        found: all intervals of the regions that the queries are about.
        queries: the queries.
        split: how parts are made and bounded.
        parts: at most so many parts of one query are bounded; None for no limit.
        kept: from so many open parts of one query on, the best are cut first and not the worst: their
            number then hardly grows.
    """

    def __init__(
        self, found: Relaxation, queries: VerificationQueries, split: Split, parts: int | None, kept: int
    ) -> None:
        self.found, self.queries, self.split, self.parts, self.kept = found, queries, split, parts, kept
        self.until, self.memory = math.inf, MEMORY
        count = len(queries.image)
        self.open: list[list[_Part]] = [[] for _ in range(count)]
        self.closed = torch.full((count,), torch.inf, dtype=torch.float64)
        self.started = torch.zeros(count, dtype=torch.bool)
        self.lost = torch.zeros(len(found.region), dtype=torch.bool)
        self.points = self.found.region.lower[queries.image].to(torch.float32)
        self.value = torch.full((count,), torch.inf, dtype=torch.float64)
        self.used = [0] * count
        self.number = self.size = 0
        self.finite = self._finite()

    @torch.no_grad()
    def run(self, until: float = math.inf) -> None:
        """Bound all regions as a whole, then round after round the halves of parts; or go on with it.

        Args:
            until: by `time.monotonic`, when no more is begun.
        """
        self.until = until
        # Where a float32 may overflow it may become NaN, which has no sign and is in no part.
        first = (self.finite & ~self.started).nonzero().flatten()
        for query in torch.split(first, self._most()) if len(first) else ():
            if self._late():
                return
            bounded = self.split.bounded(query, self.split.first(query), until)
            self._settle(query, bounded, None)
        while not self._late():
            chosen = [(at, part) for at in self._active() for part in self._taken(at)]
            if not chosen:
                return
            size = max(1, self._most() // 2)
            for begin in range(0, len(chosen), size):
                if self._late():
                    for at, part in chosen[begin:]:
                        heapq.heappush(self.open[at], part)
                    return
                self._cut(chosen[begin : begin + size])

    @property
    def stopped(self) -> Tensor:
        """(Q,) bool, whether a query is still open: more time may answer it."""
        lost = self.lost[self.queries.image]
        open_ = torch.tensor([bool(parts) for parts in self.open], dtype=torch.bool)
        return (open_ | (self.finite & ~self.started)) & ~lost & (self.value > 0)

    def answers(self) -> QueryResults:
        """The results so far."""
        return QueryResults(self._bounds(), self.points, self.value, self.stopped)

    def _bounds(self) -> Tensor:
        """The least bound of all parts of each query."""
        found = self.closed.clone()
        for at, parts in enumerate(self.open):
            if parts:
                found[at] = min(float(found[at]), *(part.bound for part in parts))
        return torch.where(self.started & self.finite, found, -torch.inf)

    def _cut(self, chosen: list[tuple[int, _Part]]) -> None:
        """Bound both halves of parts; one that has no place left gets more steps of gradient ascent."""
        query = torch.tensor([at for at, _ in chosen])
        place = torch.tensor([part.place for _, part in chosen])
        least = torch.tensor([part.bound for _, part in chosen], dtype=torch.float64)
        columns = zip(*(part.state for _, part in chosen), strict=True)
        state: SubproblemState = tuple(torch.stack(column) for column in columns)
        has = place >= 0
        halves = self.split.halves(tuple(each[has] for each in state), place[has])
        state = tuple(torch.cat([half, each[~has]]) for half, each in zip(halves, state, strict=True))
        query = torch.cat([query[has].repeat(2), query[~has]])
        least = torch.cat([least[has].repeat(2), least[~has]])
        self._settle(query, self.split.bounded(query, state, self.until), least)

    def _settle(self, query: Tensor, bounded: SubproblemBounds, least: Tensor | None) -> None:
        """Keep what is still open, and the best candidate."""
        bounds = bounded.bounds if least is None else torch.maximum(bounded.bounds, least)
        self.started[query] = True
        self._judge(query, bounded.points)
        for n, (at, bound) in enumerate(zip(query.tolist(), bounds.tolist(), strict=True)):
            self.used[at] += 1
            if bound > 0:
                self.closed[at] = min(float(self.closed[at]), bound)
                continue
            place = int(bounded.place[n])
            if place < 0 and not self.split.again:
                self.lost[self.queries.image[at]] = True
                self.closed[at] = min(float(self.closed[at]), bound)
                continue
            self.number += 1
            state = tuple(each[n].clone() for each in bounded.state)
            self.size = sum(each.nbytes for each in state)
            heapq.heappush(self.open[at], _Part(bound, self.number, place, state))

    def _judge(self, query: Tensor, points: Tensor) -> None:
        """Evaluate the file at points, as an interval that holds the output of any runtime."""
        exact, rows = points.to(torch.float64), self.queries.rows[query]
        program = self.found.program
        at = relax(
            program,
            Region(exact, exact),
            parallel=self.found.parallel,
            rounding=self.found.rounding,
            backward=False,
        )
        image = torch.arange(len(points)).repeat_interleave(rows.shape[1])
        flat, limits = rows.reshape(-1, *program.logits), self.queries.limits[query]
        upper = -at.lower(program.output, DenseCoefficients(-flat), image).reshape(limits.shape) - limits
        worst = upper.amax(1)
        for n, (number, value) in enumerate(zip(query.tolist(), worst.tolist(), strict=True)):
            if value < float(self.value[number]):
                self.value[number], self.points[number] = value, points[n]

    def _active(self) -> list[int]:
        """Queries with open parts, of regions none of whose queries is lost."""
        for at in range(len(self.open)):
            if self.value[at] <= 0 or (self.parts is not None and self.used[at] >= self.parts):
                self.lost[self.queries.image[at]] = True
        self._release()
        while sum(map(len, self.open)) * self.size > self.memory:
            largest = max(range(len(self.open)), key=lambda at: len(self.open[at]))
            self.lost[self.queries.image[largest]] = True
            self._release()
        return [at for at, parts in enumerate(self.open) if parts]

    def _release(self) -> None:
        """Keep of what is lost its least bound alone."""
        for at, parts in enumerate(self.open):
            if parts and self.lost[self.queries.image[at]]:
                self.closed[at] = min(float(self.closed[at]), *(part.bound for part in parts))
                parts.clear()

    def _taken(self, at: int) -> list[_Part]:
        parts = self.open[at]
        if len(parts) <= self.kept:
            return [heapq.heappop(parts) for _ in range(min(WIDTH, len(parts)))]
        parts.sort()  # a sorted list is a heap
        taken = parts[-WIDTH:]
        del parts[-WIDTH:]
        return taken

    def _late(self) -> bool:
        return time.monotonic() >= self.until

    def _most(self) -> int:
        """Parts at a time: gradient ascent holds gradients in addition to the coefficients."""
        return max(1, min(MOST, at_once(self.found.program) // (4 * self.queries.rows.shape[1])))

    def _finite(self) -> Tensor:
        """(Q,), whether no value of the region can overflow."""
        known = torch.ones(len(self.found.region), dtype=torch.bool)
        for lower, upper in self.found.intervals.values():
            known &= per_image(lower.isfinite() & upper.isfinite()).all(1)
        return known[self.queries.image]
