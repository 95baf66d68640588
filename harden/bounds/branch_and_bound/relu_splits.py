"""Splits by the signs of rectifiers' inputs, bounded with Lagrange multipliers (beta-CROWN)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from harden.bounds.branch_and_bound.splits import SubproblemBounds, SubproblemState, VerificationQueries
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.coefficients import DenseCoefficients, per_image
from harden.bounds.crown.intermediate_bounds import narrow
from harden.bounds.float_rounding import LARGEST_32
from harden.bounds.rules import Rectifier


@final
@dataclass(frozen=True, slots=True, eq=False)
class SignSplit:
    """Parts in which values that rectifiers read are at least 0, or at most 0, as float32 has them.

    A file's own float32 value has a sign, so nothing is lost between both halves. A part's signs are part of
    its bound as intervals and as Lagrange multipliers (Wang et al., beta-CROWN, arXiv 2103.06624), which are
    optimised by Adam together with the slopes of the rectifiers that are left.

    State: signs (n, U) of all U values, 0 where open; (n, R, U), for each row the lower slope of an open
    value, and the multiplier of one whose sign was chosen.

    Args:
        found: all intervals of the N regions.
        queries: what is to be bounded.
        steps: of Adam, for each part.
        rate: of Adam.
        values: those that rectifiers read, and their places among all U.
    """

    found: Relaxation
    queries: VerificationQueries
    steps: int
    rate: float
    values: dict[str, slice] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", rectifier_inputs(self.found))

    @property
    def again(self) -> bool:
        """Yes: gradient ascent continues where it ended."""
        return True

    def first(self, query: Tensor) -> SubproblemState:
        """No sign is chosen; the slopes are the relaxation's."""
        image, rows = self.queries.image[query], self.queries.rows.shape[1]
        slopes = torch.zeros(len(query), _total(self.values))
        for step in self.found.program.steps:
            if isinstance(step.rule, Rectifier) and step.inputs[0] in self.values:
                slopes[:, self.values[step.inputs[0]]] = per_image(self.found.below_slope(step)[image]).to(
                    slopes.dtype
                )
        signs = torch.zeros(len(query), slopes.shape[1], dtype=torch.int8)
        return signs, slopes[:, None].repeat(1, rows, 1)

    def halves(self, state: SubproblemState, place: Tensor) -> SubproblemState:
        """At least 0 at the place, and at most 0; multipliers begin with 0."""
        n = torch.arange(len(place))
        signs, free = state[0].repeat(2, 1), state[1].repeat(2, 1, 1)
        signs[n, place], signs[len(n) + n, place] = 1, -1
        free[torch.cat([n, len(n) + n]), :, torch.cat([place, place])] = 0
        return signs, free

    def bounded(self, query: Tensor, state: SubproblemState, until: float = math.inf) -> SubproblemBounds:
        """The best bounds of gradient ascent, and where the relaxation that it ends with loses most."""
        signs, free = state
        image, limits = self.queries.image[query], self.queries.limits[query].flatten()
        part = narrow(self.found, image, self._named(signs))
        empty = torch.zeros(len(signs), dtype=torch.bool)
        for lower, upper in part.intervals.values():
            empty |= per_image(lower > upper).any(1)
        rows = self.queries.rows[query].flatten(0, 1)
        ascent = _MultiplierAscent(part, rows, limits, signs, self.values)
        best, free, seen = ascent.maximise(free.to(torch.float64), self.steps, self.rate, until)
        bounds, row = best.reshape(len(signs), -1).max(1)
        worst = torch.arange(len(signs)) * limits.shape[0] // len(signs) + row
        coefficients = seen[part.program.input][worst]
        points = part.region.lowest(coefficients, torch.arange(len(signs)))
        place = self._place(part, {name: each[worst] for name, each in seen.items()}, free[worst])
        free = free.reshape(len(signs), -1, signs.shape[1]).to(torch.float32)
        return SubproblemBounds(torch.where(empty, torch.inf, bounds), place, (signs, free), points)

    def _named(self, signs: Tensor) -> dict[str, Tensor]:
        intervals = self.found.intervals
        return {
            name: signs[:, at].reshape(-1, *intervals[name][0].shape[1:]) for name, at in self.values.items()
        }

    def _place(self, part: Relaxation, seen: dict[str, Tensor], slopes: Tensor) -> Tensor:
        """The open value at which a rectifier's lines cost the bound most."""
        costs = slopes.new_zeros(slopes.shape[0], slopes.shape[1])
        for step in part.program.steps:
            at = self.values.get(step.inputs[0])
            if not isinstance(step.rule, Rectifier) or at is None or step.name not in seen:
                continue
            lower, upper = (per_image(end) for end in part.intervals[step.inputs[0]])
            each, slope = per_image(seen[step.name]), slopes[:, at]
            width = (upper - lower).clamp_min(1e-300)
            above = -upper * lower / width
            below = torch.minimum(-lower * slope, upper * (1 - slope))
            lost = torch.where(each < 0, -each * above, each * below)
            # What costs nothing now may cost something in a part: it comes last, not never.
            lost = lost + 1e-9 * above
            costs[:, at] += torch.where((lower < 0) & (upper > 0), lost, -1.0)
        most, place = costs.max(1)
        return torch.where(most > 0, place, -1)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _MultiplierAscent:
    """Gradient ascent over slopes and multipliers of n parts with R rows each."""

    part: Relaxation
    rows: Tensor
    limits: Tensor
    signs: Tensor
    values: dict[str, slice]

    def maximise(
        self, free: Tensor, steps: int, rate: float, until: float
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The best bounds (n R,) less their limits, where it ends (n R, U), the coefficients met there."""
        count = self.rows.shape[0] // len(self.signs)
        signs = self.signs.repeat_interleave(count, 0)
        flattest = self._flattest(signs)
        free = _within(free.flatten(0, 1), signs, flattest).requires_grad_()
        optimiser = torch.optim.Adam([free], lr=rate)
        best = self.rows.new_full((len(self.rows),), -math.inf)
        for step in range(steps):
            if time.monotonic() >= until:
                break
            with torch.enable_grad():
                bounds = self._lower(free, signs)
                loss = -bounds.clamp_max(0).sum()
            best = torch.fmax(best, bounds.detach())
            # Where no rectifier lies on the way to the output, nothing depends on slopes.
            if bool((best > 0).all()) or not loss.requires_grad:
                break
            torch.autograd.backward(loss)
            if free.grad is not None:
                free.grad.nan_to_num_(0.0, 0.0, 0.0)  # a slope that became NaN would stay so
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            optimiser.param_groups[0]["lr"] = rate * 0.1 ** ((step + 1) / steps)
            free.data = _within(free.detach(), signs, flattest)
        free, seen = free.detach(), dict[str, Tensor]()
        best = torch.fmax(best, self._lower(free, signs, seen))
        return torch.where(best.isnan(), -torch.inf, best), free, seen

    def _flattest(self, signs: Tensor) -> Tensor:
        """(U,), the least slope that each value's rectifiers may have."""
        found = self.rows.new_zeros(signs.shape[1])
        for step in self.part.program.steps:
            if isinstance(step.rule, Rectifier) and step.inputs[0] in self.values:
                at = self.values[step.inputs[0]]
                found[at] = found[at].clamp_min(step.rule.alpha)
        return found

    def _lower(self, free: Tensor, signs: Tensor, seen: dict[str, Tensor] | None = None) -> Tensor:
        program, slopes, pulls = self.part.program, {}, {}
        for step in program.steps:
            if isinstance(step.rule, Rectifier) and step.inputs[0] in self.values:
                at, shape = self.values[step.inputs[0]], (-1, *step.size)
                slopes[step.name] = free[:, at].reshape(shape)
                pulls[step.inputs[0]] = (-signs[:, at] * free[:, at]).reshape(shape)
        image = torch.arange(len(self.signs)).repeat_interleave(len(free) // len(self.signs))
        start = DenseCoefficients(self.rows.reshape(-1, *program.logits))
        return self.part.lower(program.output, start, image, slopes, pulls, seen) - self.limits


def _within(free: Tensor, signs: Tensor, flattest: Tensor) -> Tensor:
    """Slopes of open values between the rectifier's own two, multipliers at least 0."""
    slopes = torch.minimum(torch.maximum(free, flattest), torch.ones_like(flattest))
    return torch.where(signs == 0, slopes, free.clamp(0, LARGEST_32))


def rectifier_inputs(found: Relaxation) -> dict[str, slice]:
    """The values that rectifiers read and steps give, and their places among all of them."""
    steps = {step.name: step for step in found.program.steps}
    places: dict[str, slice] = {}
    for step in found.program.steps:
        name = step.inputs[0]
        if isinstance(step.rule, Rectifier) and name in steps and name not in places:
            begin = _total(places)
            places[name] = slice(begin, begin + math.prod(steps[name].size))
    return places


def _total(places: dict[str, slice]) -> int:
    return max((at.stop for at in places.values()), default=0)
