"""A step with momentum, which a threat may offer in one operation."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from harden.threats.threat import Threat


@runtime_checkable
class MomentumThreat(Protocol):
    """A threat that takes the step below itself, for instance in one pass over memory."""

    def momentum_step_(
        self, x_adv: Tensor, before: Tensor, x: Tensor, grad: Tensor, step_size: Tensor, share: float
    ) -> None:
        """What `momentum_step_` of this module does with `threat`, in place."""
        ...


def momentum_step_(
    threat: Threat, x_adv: Tensor, before: Tensor, x: Tensor, grad: Tensor, step_size: Tensor, share: float
) -> None:
    """Take a step with momentum, in place: before <- x_adv and x_adv <- m.

    m = P(share z + 2 (1 - share) x_adv - (1 - share) before), where z is what the threat's step makes of
    x_adv and P its projection; with a share of 1 it is z itself. A threat that does not offer this step gets
    it composed of `step_` and `project_`.
    """
    if isinstance(threat, MomentumThreat):
        threat.momentum_step_(x_adv, before, x, grad, step_size, share)
        return
    moved = x_adv.clone()
    threat.step_(moved, x, grad, step_size)
    if share != 1.0:
        moved.mul_(share).add_(x_adv, alpha=2 * (1 - share)).sub_(before, alpha=1 - share)
        threat.project_(moved, x)
    before.copy_(x_adv)
    x_adv.copy_(moved)
