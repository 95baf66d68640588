"""How a question about a region is cut into parts; and the plainest way, by halves of the input's box.

A part is known by tensors, its state; many parts are bounded together. Every execution of the file in the
region lies in at least one of a part's two halves, so that what is proved of both is proved of the part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.coefficients import Whole
from harden.bounds.crown.intermediate_bounds import relaxed
from harden.bounds.region import Region

State = tuple[Tensor, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Whether over a region always some row . logits > limit, Q times.

    Args:
        image: (Q,), which region each is about.
        rows: (Q, R, K) coefficients of the logits, numbers that float32 holds exactly.
        limits: (Q, R).
    """

    image: Tensor
    rows: Tensor
    limits: Tensor


@final
@dataclass(frozen=True, slots=True, eq=False)
class Bounded:
    """What is known of n parts.

    Args:
        bounds: (n,), of the largest row . logits - limit; infinite where the part is empty.
        place: (n,), where to cut each part; -1 where it has no place left.
        state: what its halves begin with.
        points: (n, ...) float32 in the region, where the relaxation is lowest.
    """

    bounds: Tensor
    place: Tensor
    state: State
    points: Tensor


class Split(Protocol):
    """How parts are made and bounded."""

    @property
    def again(self) -> bool:
        """Whether a part that has no place left can be bounded better a second time."""
        ...

    def first(self, question: Tensor) -> State:
        """The part that is all of each question's region."""
        ...

    def halves(self, state: State, place: Tensor) -> State:
        """Both halves of n parts, first all of one side: 2 n."""
        ...

    def bounded(self, question: Tensor, state: State, until: float = math.inf) -> Bounded:
        """Bounds of n parts of the questions, each about its own.

        Args:
            question: (n,), which one each part is of.
            state: of the parts.
            until: by `time.monotonic`, when no further step is made towards better ones.
        """
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Parts of the input's box, cut in the middle of the axis that counts most in the bound.

    Both halves hold their common face, so they hold every input. All values are bounded anew in each part.
    State: the ends of the boxes, (n, ...) each.

    Args:
        found: what it was made with, and the N regions.
        asked: what is to be bounded.
    """

    found: Relaxation
    asked: Questions

    @property
    def again(self) -> bool:
        """No: no float64 lies between the ends of its box."""
        return False

    def first(self, question: Tensor) -> State:
        """The regions' boxes."""
        region = self.found.region.take(self.asked.image[question])
        return region.lower, region.upper

    def halves(self, state: State, place: Tensor) -> State:
        """Below the middle, and above."""
        shape, n = state[0].shape, torch.arange(len(place))
        lower, upper = (end.flatten(1).repeat(2, 1) for end in state)
        middle = (lower[n, place] + upper[n, place]) / 2
        upper[n, place], lower[len(n) + n, place] = middle, middle
        return lower.reshape(-1, *shape[1:]), upper.reshape(-1, *shape[1:])

    def bounded(self, question: Tensor, state: State, until: float = math.inf) -> Bounded:
        """CROWN, value by value."""
        lower, upper = state
        every, found = self.found.region, self.found
        image = self.asked.image[question]
        centre = None if every.centre is None else every.centre[image]
        region = Region(lower, upper, centre, every.eps, every.dual)
        part = relaxed(found.program, region, parallel=found.parallel, rounding=found.rounding, until=until)
        rows, limits = self.asked.rows[question], self.asked.limits[question]
        own, seen = torch.arange(len(lower)), dict[str, Tensor]()
        start = Whole(rows.reshape(-1, *found.program.logits))
        best = part.lower(found.program.output, start, own.repeat_interleave(rows.shape[1]), None, None, seen)
        best = torch.where(best.isnan(), -torch.inf, best).reshape(limits.shape) - limits
        bounds, row = best.max(1)
        if found.program.input in seen:
            coefficients = seen[found.program.input][own * rows.shape[1] + row]
        else:
            coefficients = torch.zeros_like(lower)
        gain = (coefficients.abs() * (upper - lower)).flatten(1)
        middle = ((lower + upper) / 2).flatten(1)
        # What an axis costs CROWN inside does not show in the last coefficients: a wide one counts always.
        gain = gain + 1e-3 * gain.amax(1, keepdim=True) * _shares(upper - lower) + 1e-300
        gain = torch.where((lower.flatten(1) < middle) & (middle < upper.flatten(1)), gain, -1.0)
        most, place = gain.max(1)
        place = torch.where(most > 0, place, -1)
        return Bounded(bounds, place, state, region.lowest(coefficients, own))


def _shares(width: Tensor) -> Tensor:
    flat = width.flatten(1)
    return flat / flat.amax(1, keepdim=True).clamp_min(1e-300)
