"""Branch and bound: what one relaxation leaves open is cut into parts until each is proved, or time is up."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field, replace
from typing import Final, final

import torch
from torch import Tensor

from harden.bounds.coefficients import Whole
from harden.bounds.crown import at_once, relaxed, sharpened
from harden.bounds.region import Region
from harden.bounds.relaxation import Relaxation
from harden.bounds.signs import Signs, rectified
from harden.bounds.slopes import Climb
from harden.bounds.splits import Bounded, Boxes, Questions, Split, State
from harden.errors import InputError

WIDTH: Final = 32
"""Parts of one question that are cut at a time, the worst ones."""
MOST: Final = 512
"""Parts that are bounded at a time, of all questions: what a time limit can be overrun by."""
MEMORY: Final = 2**30
"""Bytes that all open parts may take: beyond, the question with most of them is given up."""


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
        kept: at most so many open parts of one question; with more it is given up.
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
        until = None if self.seconds is None else time.monotonic() + self.seconds
        with torch.no_grad():
            search = _Search(self, found, asked, self._split(found, asked, until), until)
            search.run()
        return Answers(search.bounds(), search.points, search.value)

    def within(self, begin: float, shares: int) -> Branching:
        """The same with one of several equal shares of the seconds that are left since `begin`."""
        if self.seconds is None:
            return self
        left = self.seconds - (time.monotonic() - begin)
        return replace(self, seconds=max(left, 0.0) / shares)

    def _split(self, found: Relaxation, asked: Questions, until: float | None) -> Split:
        few = found.region.lower[0].numel() <= self.axes if len(found.region) else True
        if few or not rectified(found):
            return Boxes(found, asked)
        # Parts keep the intervals of the whole but for what their signs change: those are worth some work.
        # With little time, a quarter of it: the search has to have some.
        if until is not None:
            now = time.monotonic()
            until = now + (until - now) / 4
        return Signs(sharpened(found, Climb(steps=10), until), asked, self.steps, self.rate)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a search found, for each of Q questions.

    Args:
        bounds: (Q,), of the least over the region of the largest row . logits - limit: above 0 is a proof.
        points: (Q, ...) float32: where a counterexample is likeliest, to be replayed and not believed.
        likeliest: (Q,), at most so much is the largest row . logits - limit there: a counterexample if not
            above 0, and the search then ended.
    """

    bounds: Tensor
    points: Tensor
    likeliest: Tensor


@final
@dataclass(frozen=True, slots=True, order=True)
class _Part:
    """An open part; the worst bound comes first, and of equals the earliest."""

    bound: float
    number: int
    place: int = field(compare=False)
    state: State = field(compare=False)


@final
class _Search:
    """All questions side by side; what happens to one does not depend on the others."""

    def __init__(
        self, limits: Branching, found: Relaxation, asked: Questions, split: Split, until: float | None
    ) -> None:
        self.limits, self.found, self.asked, self.split, self.until = limits, found, asked, split, until
        count = len(asked.image)
        self.open: list[list[_Part]] = [[] for _ in range(count)]
        self.closed = torch.full((count,), torch.inf, dtype=torch.float64)
        self.started = torch.zeros(count, dtype=torch.bool)
        self.lost = torch.zeros(len(found.region), dtype=torch.bool)
        self.points = self.found.region.lower[asked.image].to(torch.float32)
        self.value = torch.full((count,), torch.inf, dtype=torch.float64)
        self.used = [0] * count
        self.number = self.size = 0
        self.finite = self._finite()

    def run(self) -> None:
        """Bound all regions as a whole, then round after round the halves of the worst parts."""
        # Where a float32 may overflow it may become NaN, which has no sign and is in no part.
        first = self.finite.nonzero().flatten()
        for question in torch.split(first, self._most()):
            if self._late() or not len(question):  # where everything overflows, nothing is left to bound
                return
            self._settle(question, self.split.bounded(question, self.split.first(question)), None)
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

    def bounds(self) -> Tensor:
        """The least bound of all parts of each question."""
        found = self.closed.clone()
        for at, parts in enumerate(self.open):
            if parts:
                found[at] = min(float(found[at]), *(part.bound for part in parts))
        return torch.where(self.started & self.finite, found, -torch.inf)

    def _cut(self, chosen: list[tuple[int, _Part]]) -> None:
        """Bound both halves of parts; one that has no place left is bounded again, to climb further."""
        question = torch.tensor([at for at, _ in chosen])
        place = torch.tensor([part.place for _, part in chosen])
        least = torch.tensor([part.bound for _, part in chosen], dtype=torch.float64)
        columns = zip(*(part.state for _, part in chosen), strict=True)
        state: State = tuple(torch.stack(column) for column in columns)
        has = place >= 0
        halves = self.split.halves(tuple(each[has] for each in state), place[has])
        state = tuple(torch.cat([half, each[~has]]) for half, each in zip(halves, state, strict=True))
        question = torch.cat([question[has].repeat(2), question[~has]])
        least = torch.cat([least[has].repeat(2), least[~has]])
        self._settle(question, self.split.bounded(question, state), least)

    def _settle(self, question: Tensor, bounded: Bounded, least: Tensor | None) -> None:
        """Keep what is still open, and the best candidate."""
        bounds = bounded.bounds if least is None else torch.maximum(bounded.bounds, least)
        self.started[question] = True
        self._judge(question, bounded.points)
        for n, (at, bound) in enumerate(zip(question.tolist(), bounds.tolist(), strict=True)):
            self.used[at] += 1
            if bound > 0:
                self.closed[at] = min(float(self.closed[at]), bound)
                continue
            place = int(bounded.place[n])
            if place < 0 and not self.split.again:
                self.lost[self.asked.image[at]] = True
                self.closed[at] = min(float(self.closed[at]), bound)
                continue
            self.number += 1
            state = tuple(each[n].clone() for each in bounded.state)
            self.size = sum(each.nbytes for each in state)
            heapq.heappush(self.open[at], _Part(bound, self.number, place, state))

    def _judge(self, question: Tensor, points: Tensor) -> None:
        """What the file gives at points, as an interval that holds what any runtime gives."""
        exact, rows = points.to(torch.float64), self.asked.rows[question]
        program = self.found.program
        at = relaxed(
            program,
            Region(exact, exact),
            parallel=self.found.parallel,
            rounding=self.found.rounding,
            backward=False,
        )
        image = torch.arange(len(points)).repeat_interleave(rows.shape[1])
        flat, limits = rows.reshape(-1, *program.logits), self.asked.limits[question]
        upper = -at.lower(program.output, Whole(-flat), image).reshape(limits.shape) - limits
        worst = upper.amax(1)
        for n, (number, value) in enumerate(zip(question.tolist(), worst.tolist(), strict=True)):
            if value < float(self.value[number]):
                self.value[number], self.points[number] = value, points[n]

    def _active(self) -> list[int]:
        """Questions with open parts, of regions none of whose questions is lost."""
        most, kept = self.limits.parts, self.limits.kept
        for at, parts in enumerate(self.open):
            if self.value[at] <= 0 or len(parts) > kept or (most is not None and self.used[at] >= most):
                self.lost[self.asked.image[at]] = True
        self._release()
        while sum(map(len, self.open)) * self.size > MEMORY:
            largest = max(range(len(self.open)), key=lambda at: len(self.open[at]))
            self.lost[self.asked.image[largest]] = True
            self._release()
        return [at for at, parts in enumerate(self.open) if parts]

    def _release(self) -> None:
        """Keep of what is lost its least bound alone."""
        for at, parts in enumerate(self.open):
            if parts and self.lost[self.asked.image[at]]:
                self.closed[at] = min(float(self.closed[at]), *(part.bound for part in parts))
                parts.clear()

    def _taken(self, at: int) -> list[_Part]:
        return [heapq.heappop(self.open[at]) for _ in range(min(WIDTH, len(self.open[at])))]

    def _late(self) -> bool:
        return self.until is not None and time.monotonic() >= self.until

    def _most(self) -> int:
        """Parts at a time: a climb holds gradients beside the coefficients."""
        return max(1, min(MOST, at_once(self.found.program) // (4 * self.asked.rows.shape[1])))

    def _finite(self) -> Tensor:
        """(Q,), whether no value of the region can overflow."""
        known = torch.ones(len(self.found.region), dtype=torch.bool)
        for lower, upper in self.found.intervals.values():
            known &= (lower.isfinite() & upper.isfinite()).flatten(1).all(1)
        return known[self.asked.image]
