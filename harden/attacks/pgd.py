"""Projected gradient descent (Madry et al., 1706.06083) for any loss and any threat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.attacks.protocol import loss_and_gradient
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class PGD:
    """x_{t+1} = P(x_t + a d(grad L(x_t))), with the threat's projection P and steepest direction d.

    Guarantee: the result lies in ball and box. With `keep_best` it is the point of largest loss among all
    points visited, starts included, so that more restarts, or more steps of one size, never lower the loss.

    Args:
        steps: gradient steps of each restart.
        step_size: a as a multiple of eps; 2.5 / steps by default.
        restarts: independent runs; the one with the largest loss is kept, per example.
        random_start: start anywhere in the ball instead of at x.
        keep_best: look at every visited point, for one more forward; otherwise return the last one.

    Raises:
        InputError: steps or restarts below 1, or a step size that is not positive.
    """

    steps: int = 10
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    keep_best: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            seen = f"{self.steps} steps and {self.restarts} restarts"
            raise InputError(seen, "at least one of each", "write PGD(steps=10, restarts=1)")
        if self.step_size is not None and not self.step_size > 0:
            raise InputError(
                f"step size {self.step_size}", "a positive multiple of eps", "write step_size=0.25"
            )

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Attack the images x (N, C, H, W), float32, and return x_adv of the same shape, without gradient."""
        if len(draws) != len(x):
            raise InputError(
                f"draws for {len(draws)} examples and {len(x)} images",
                "one id per image",
                "write Draws(seed, torch.arange(len(x)))",
            )
        x = x.detach()
        if len(x) == 0:
            return x.clone()
        best, best_loss = x, x.new_full((len(x),), -torch.inf)
        for restart in range(self.restarts):
            found, value = self._climb(loss, x, threat, draws.fold(restart))
            if value is None:
                if self.restarts == 1:
                    return found
                with torch.no_grad():
                    value = loss(found)
            best, best_loss = _larger(best, best_loss, found, value)
        return best

    def _climb(
        self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws
    ) -> tuple[Tensor, Tensor | None]:
        """One run; the loss of the returned point is None where nobody asked for it."""
        x_adv = threat.start(x, draws) if self.random_start else x.clone()
        multiple = 2.5 / self.steps if self.step_size is None else self.step_size
        step_size = torch.full((1,), multiple * float(threat.eps), dtype=torch.float32, device=x.device)
        best, best_loss = x_adv.clone(), x.new_full((len(x),), -torch.inf)
        for _ in range(self.steps):
            value, gradient = loss_and_gradient(loss, x_adv)
            if self.keep_best:
                best, best_loss = _larger(best, best_loss, x_adv, value)
            threat.step_(x_adv, x, gradient, step_size)
        if not self.keep_best:
            return x_adv, None
        with torch.no_grad():
            value = loss(x_adv)
        return _larger(best, best_loss, x_adv, value)


def FGSM() -> PGD:  # noqa: N802 - it stands where a class would
    """One step of length eps from x itself (Goodfellow et al., 1412.6572)."""
    return PGD(steps=1, step_size=1.0, random_start=False, keep_best=False)


def _larger(x: Tensor, value: Tensor, other: Tensor, other_value: Tensor) -> tuple[Tensor, Tensor]:
    """Per example, the point with the larger loss; a NaN never wins."""
    wins = other_value > value
    return torch.where(wins.view(-1, *[1] * (x.dim() - 1)), other, x), torch.where(wins, other_value, value)
