"""Splits of a verification query into parts: their protocol, and the split of the input's box.

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
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.bounds.crown.intermediate_bounds import relax
from harden.bounds.region import Region

SubproblemState = tuple[Tensor, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class VerificationQueries:
    """Q queries: does some row . logits > limit hold at each input of a region?

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
class SubproblemBounds:
    """Bounds of n parts, and where to split them.

    Args:
        bounds: (n,), of the largest row . logits - limit; infinite where the part is empty.
        place: (n,), where to cut each part; -1 where it has no place left.
        state: what its halves begin with.
        points: (n, ...) float32 in the region, where the relaxation is lowest.
    """

    bounds: Tensor
    place: Tensor
    state: SubproblemState
    points: Tensor


class Split(Protocol):
    """A way to make parts of a query and to bound them."""

    @property
    def again(self) -> bool:
        """True if a part that has no place left can be bounded better a second time."""
        ...

    def first(self, query: Tensor) -> SubproblemState:
        """The part that is all of each query's region."""
        ...

    def halves(self, state: SubproblemState, place: Tensor) -> SubproblemState:
        """Both halves of n parts, first all of one side: 2 n."""
        ...

    def bounded(self, query: Tensor, state: SubproblemState, until: float = math.inf) -> SubproblemBounds:
        """Bounds of n parts of the queries, each about its own.

        Args:
            query: (n,), which one each part is of.
            state: of the parts.
            until: by `time.monotonic`, when no further step is made towards better ones.
        """
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class InputSplit:
    """Parts of the input's box, cut in the middle of the axis that counts most in the bound.

    Both halves hold their common face, so they hold every input. All values are bounded anew in each part.
    State: the ends of the boxes, (n, ...) each.

    Args:
        found: what it was made with, and the N regions.
        queries: what is to be bounded.
    """

    found: Relaxation
    queries: VerificationQueries

    @property
    def again(self) -> bool:
        """No: no float64 lies between the ends of its box."""
        return False

    def first(self, query: Tensor) -> SubproblemState:
        """The regions' boxes."""
        region = self.found.region.take(self.queries.image[query])
        return region.lower, region.upper

    def halves(self, state: SubproblemState, place: Tensor) -> SubproblemState:
        """Below the middle, and above."""
        shape, n = state[0].shape, torch.arange(len(place))
        lower, upper = (end.flatten(1).repeat(2, 1) for end in state)
        middle = (lower[n, place] + upper[n, place]) / 2
        upper[n, place], lower[len(n) + n, place] = middle, middle
        return lower.reshape(-1, *shape[1:]), upper.reshape(-1, *shape[1:])

    def bounded(self, query: Tensor, state: SubproblemState, until: float = math.inf) -> SubproblemBounds:
        """CROWN, value by value."""
        lower, upper = state
        every, found = self.found.region, self.found
        image = self.queries.image[query]
        centre = None if every.centre is None else every.centre[image]
        region = Region(lower, upper, centre, every.eps, every.dual)
        part = relax(found.program, region, parallel=found.parallel, rounding=found.rounding, until=until)
        rows, limits = self.queries.rows[query], self.queries.limits[query]
        own, seen = torch.arange(len(lower)), dict[str, Tensor]()
        start = DenseCoefficients(rows.reshape(-1, *found.program.logits))
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
        return SubproblemBounds(bounds, place, state, region.lowest(coefficients, own))


def _shares(width: Tensor) -> Tensor:
    flat = width.flatten(1)
    return flat / flat.amax(1, keepdim=True).clamp_min(1e-300)
