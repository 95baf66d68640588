"""The momentum iterative method (Dong et al., 1710.06081), whose examples transfer better than PGD's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.attacks.attack import searching
from harden.attacks.engine.argument_checks import check_counts, check_draws, check_step_size
from harden.attacks.engine.best_point_search import BestPointSearch
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class MIFGSM:
    """m_{t+1} = mu m_t + g_t / |g_t|_1 and x_{t+1} = P(x_t + a d(m_{t+1})), from x itself, g_t = grad L(x_t).

    d is the threat's steepest direction, P its projection.

    Guarantee: as `harden.attacks.PGD` with `keep_best`.

    Args:
        steps: gradient steps.
        decay: mu, how much of the old direction stays; 1 in the paper.
        step_size: a as a multiple of eps; 1 / steps by default, as in the paper.
        stop_early: end work on an example at its first error, as in `harden.attacks.PGD`.

    Raises:
        InputError: steps below 1, a negative decay, or a step size that is not positive.
    """

    steps: int = 10
    decay: float = 1.0
    step_size: float | None = None
    stop_early: bool = False

    def __post_init__(self) -> None:
        check_counts(self.steps, 1, "write MIFGSM(steps=10)")
        if not 0 <= self.decay < float("inf"):
            raise InputError(f"decay {self.decay}", "a number of 0 or more", "write MIFGSM(decay=1.0)")
        if self.step_size is not None:
            check_step_size(self.step_size)

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Attack the images x (N, C, H, W), float32, and return x_adv of the same shape, without gradient."""
        check_draws(draws, x)
        if len(x) == 0:
            return x.detach().clone()
        with searching(x) as clean:
            search = BestPointSearch(loss, clean, stop_early=self.stop_early)
            multiple = 1.0 / self.steps if self.step_size is None else self.step_size
            size = torch.full((1,), multiple * float(threat.eps), dtype=torch.float32, device=x.device)
            rule = _AccumulatedStep(threat, size, self.decay, torch.zeros_like(clean))
            search.run(search.remaining(), clean.clone(), rule, self.steps)
            return search.found()


@final
@dataclass(frozen=True, slots=True, eq=False)
class _AccumulatedStep:
    """Steps along a decaying sum of gradients, each of L1 length 1."""

    threat: Threat
    step_size: Tensor
    decay: float
    momentum: Tensor

    def move_(self, x_adv: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> None:
        del value
        known = gradient.nan_to_num(0.0, 0.0, 0.0)
        length = known.abs().flatten(1).sum(1).clamp_min(1e-30)
        self.momentum.mul_(self.decay).add_(known / length.view(-1, *[1] * (x.dim() - 1)))
        self.threat.step_(x_adv, x, self.momentum, self.step_size)

    def take(self, index: Tensor) -> _AccumulatedStep:
        return _AccumulatedStep(self.threat, self.step_size, self.decay, self.momentum[index])
