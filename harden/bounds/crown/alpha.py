"""Gradient ascent over the slopes of lower bounds, for each bound by itself (alpha-CROWN).

Any slope between a rectifier's two parts gives a sound bound, so that gradient ascent over them cannot make a
bound wrong (Xu et al., alpha-CROWN, arXiv 2011.13824).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.coefficients import Coefficients
from harden.bounds.rules import Rectifier


@final
@dataclass(frozen=True, slots=True)
class SlopeAscent:
    """Adam on the slopes, from those of the relaxation itself.

    Args:
        steps: at most so many.
        rate: of Adam, falling to a tenth over the steps.
        seconds: at most so long for one call; None for no limit.
    """

    steps: int = 20
    rate: float = 0.1
    seconds: float | None = None

    def __call__(
        self,
        found: Relaxation,
        start: str,
        coefficients: Coefficients,
        image: Tensor,
        goals: Tensor | None = None,
    ) -> Tensor:
        """Lower bounds (P,) as `Relaxation.lower` gives them, none lower than with its own slopes.

        A bound that is above its goal, (P,), by default 0, is not raised further.
        """
        image = image.expand(len(coefficients.each))
        best = found.lower(start, coefficients, image)
        slopes = self._at_first(found, start, image)
        if not slopes or not self.steps:
            return best
        least = {
            step.name: step.rule.alpha for step in found.program.steps if isinstance(step.rule, Rectifier)
        }
        until = None if self.seconds is None else time.monotonic() + self.seconds
        goals = torch.zeros_like(best) if goals is None else goals
        left = (best <= goals).nonzero().flatten()
        for name in slopes:
            slopes[name] = slopes[name][left].requires_grad_()
        optimiser = torch.optim.Adam(slopes.values(), lr=self.rate)
        coefficients = coefficients.whole().with_(coefficients.whole().each[left])
        for step in range(self.steps):
            if not len(left) or (until is not None and time.monotonic() > until):
                break
            with torch.enable_grad():
                bound = found.lower(start, coefficients, image[left], slopes)
                loss = -(bound - goals[left]).clamp_max(0).sum()
            best[left] = torch.fmax(best[left], bound.detach())
            if not loss.requires_grad:  # no rectifier lies on the way
                return best
            torch.autograd.backward(loss)
            with torch.no_grad():
                _without_nan(slopes)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                optimiser.param_groups[0]["lr"] = self.rate * 0.1 ** ((step + 1) / self.steps)
                for name, each in slopes.items():
                    each.clamp_(least[name], 1.0)
        if len(left):
            with torch.no_grad():
                best[left] = torch.fmax(best[left], found.lower(start, coefficients, image[left], slopes))
        return best

    def before(self, until: float) -> SlopeAscent:
        """The same that has ended by a time of `time.monotonic`, up to one step."""
        if until == math.inf:
            return self
        left = max(until - time.monotonic(), 0.0)
        return replace(self, seconds=left if self.seconds is None else min(self.seconds, left))

    def _at_first(self, found: Relaxation, start: str, image: Tensor) -> dict[str, Tensor]:
        """The relaxation's own slopes of each rectifier that is not settled everywhere, one set a bound."""
        slopes = {}
        for step in found.program.until(start):
            if isinstance(step.rule, Rectifier):
                lower, upper = found.intervals[step.inputs[0]]
                if bool(((lower < 0) & (upper > 0)).any()):
                    slopes[step.name] = found.below_slope(step)[image].clone()
        return slopes


def _without_nan(slopes: dict[str, Tensor]) -> None:
    """Bounds of values that overflow have no gradient: a slope that followed one would stay NaN."""
    for each in slopes.values():
        if each.grad is not None:
            each.grad.nan_to_num_(0.0, 0.0, 0.0)
