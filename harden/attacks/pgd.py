"""Projected gradient descent (Madry et al., 1706.06083) for any loss and any threat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.attacks.protocol import loss_and_gradient
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import JudgedLoss, LossFunction
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class PGD:
    """x_{t+1} = P(x_t + a d(grad L(x_t))), with the threat's projection P and steepest direction d.

    Guarantee: the result lies in ball and box. With `keep_best` it is, per example, the best of all points
    visited, starts included: one on which the network errs, where the loss tells (`judged`), and of those the
    one of largest loss. So more restarts, or more steps of one size, never lose an error, nor a plain loss's
    height.

    Args:
        steps: gradient steps of each restart.
        step_size: a as a multiple of eps; 2.5 / steps by default.
        restarts: independent runs; the best is kept, per example.
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
        watched = _Watched(loss)
        best = _Point.none(x)
        for restart in range(self.restarts):
            found = self._climb(watched, x, threat, draws.fold(restart))
            if not self.keep_best:
                if self.restarts == 1:
                    return found.x
                found = watched.look(found.x)
            best = best.better(found)
        return best.x

    def _climb(self, loss: _Watched, x: Tensor, threat: Threat, draws: Draws) -> _Point:
        """One run; its last point, or the best one it visited."""
        x_adv = threat.start(x, draws) if self.random_start else x.clone()
        multiple = 2.5 / self.steps if self.step_size is None else self.step_size
        step_size = torch.full((1,), multiple * float(threat.eps), dtype=torch.float32, device=x.device)
        best = _Point.none(x_adv)
        for _ in range(self.steps):
            value, gradient = loss_and_gradient(loss, x_adv)
            if self.keep_best:
                best = best.better(_Point(x_adv, value, loss.wrong))
            threat.step_(x_adv, x, gradient, step_size)
        return best.better(loss.look(x_adv)) if self.keep_best else _Point.none(x_adv)


def FGSM() -> PGD:  # noqa: N802 - it stands where a class would
    """One step of length eps from x itself (Goodfellow et al., 1412.6572)."""
    return PGD(steps=1, step_size=1.0, random_start=False, keep_best=False)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """Where an attack is, per example: images, their loss (N,), and whether the network errs there (N,)."""

    x: Tensor
    value: Tensor
    wrong: Tensor

    @classmethod
    def none(cls, x: Tensor) -> _Point:
        """A point that any other one beats."""
        nothing = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        return cls(x.clone(), x.new_full((len(x),), -torch.inf), nothing)

    def better(self, other: _Point) -> _Point:
        """Per example, the point on which the network errs; of two such or none such, that of larger loss.

        The largest cross-entropy need not be an error: three classes may nearly tie with the label ahead.
        """
        wins = (other.wrong & ~self.wrong) | ((other.wrong == self.wrong) & (other.value > self.value))
        images = torch.where(wins.view(-1, *[1] * (self.x.dim() - 1)), other.x, self.x)
        return _Point(
            images, torch.where(wins, other.value, self.value), torch.where(wins, other.wrong, self.wrong)
        )


@final
class _Watched:
    """A loss that remembers where the network erred at the point it was last asked about."""

    def __init__(self, loss: LossFunction) -> None:
        self._loss = loss
        self.wrong = torch.zeros(0, dtype=torch.bool)

    def __call__(self, x: Tensor) -> Tensor:
        if isinstance(self._loss, JudgedLoss):
            value, self.wrong = self._loss.judged(x)
            return value
        value = self._loss(x)
        self.wrong = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        return value

    @torch.no_grad()
    def look(self, x: Tensor) -> _Point:
        """The point x with its loss."""
        value = self(x)
        return _Point(x, value, self.wrong)
