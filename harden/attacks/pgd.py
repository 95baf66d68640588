"""Projected gradient descent (Madry et al., 1706.06083) for any loss and any threat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.attacks.attack import searching
from harden.attacks.engine.argument_checks import check_counts, check_draws, check_step_size
from harden.attacks.engine.best_point import Point
from harden.attacks.engine.best_point_search import BestPointSearch
from harden.attacks.engine.loss_adapter import LossAdapter
from harden.draws import Draws
from harden.losses import LossFunction
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class PGD:
    """x_{t+1} = P(x_t + a d(grad L(x_t))), with the threat's projection P and steepest direction d.

    Guarantee: the result lies in ball and box. With `keep_best` it is, per example, the best of all points
    visited, starts included: of a plain function the one of largest value; of a `harden.losses.Loss` one on
    which the network errs, and of those the one of largest loss, or with `stop_early` the first. So more
    restarts, or more steps of one size, never lose an error, nor decrease a plain function's value.

    Args:
        steps: gradient steps of each restart.
        step_size: a as a multiple of eps; 2.5 / steps by default.
        restarts: independent runs; the best is kept, per example.
        random_start: start anywhere in the ball instead of at x.
        keep_best: return the best visited point, for one more forward; otherwise the last one.
        stop_early: with `keep_best` and a `harden.losses.Loss`, end work on an example at its first error, as
            evaluations do, in which an error is all that counts. By default all steps are taken.

    Raises:
        InputError: steps or restarts below 1, or a step size that is not positive.
    """

    steps: int = 10
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    keep_best: bool = True
    stop_early: bool = False

    def __post_init__(self) -> None:
        check_counts(self.steps, self.restarts, "write PGD(steps=10, restarts=1)")
        if self.step_size is not None:
            check_step_size(self.step_size)

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Attack the images x (N, C, H, W), float32, and return x_adv of the same shape, without gradient."""
        check_draws(draws, x)
        if len(x) == 0:
            return x.detach().clone()
        with searching(x) as clean:
            if not self.keep_best:
                return self._last(LossAdapter(loss), clean, threat, draws)
            search, rule = BestPointSearch(loss, clean, stop_early=self.stop_early), self._rule(threat, clean)
            for restart in range(self.restarts):
                rows = search.remaining()
                if len(rows):
                    start = self._start(clean[rows], threat, draws.fold(restart).take(rows))
                    search.run(rows, start, rule, self.steps)
            return search.found()

    def _last(self, loss: LossAdapter, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """The last point of a run; of several the best of their last points."""
        best, rule = None, self._rule(threat, x)
        for restart in range(self.restarts):
            x_adv = self._start(x, threat, draws.fold(restart))
            for _ in range(self.steps):
                point, gradient = loss.point_and_gradient(x_adv)
                rule.move_(x_adv, x, point.value, gradient)
            if self.restarts == 1:
                return x_adv
            best = Point.none(x) if best is None else best
            best.take_over_(loss.exactly(x_adv))
        return x.clone() if best is None else best.x

    def _rule(self, threat: Threat, x: Tensor) -> _SteepestStep:
        multiple = 2.5 / self.steps if self.step_size is None else self.step_size
        size = torch.full((1,), multiple * float(threat.eps), dtype=torch.float32, device=x.device)
        return _SteepestStep(threat, size)

    def _start(self, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return threat.start(x, draws) if self.random_start else x.clone()


def FGSM() -> PGD:  # noqa: N802 - used as a class
    """One step of length eps from x itself (Goodfellow et al., 1412.6572)."""
    return PGD(steps=1, step_size=1.0, random_start=False, keep_best=False)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _SteepestStep:
    """Steps of one length along the steepest direction."""

    threat: Threat
    step_size: Tensor

    def move_(self, x_adv: Tensor, x: Tensor, value: Tensor, gradient: Tensor) -> None:
        del value
        self.threat.step_(x_adv, x, gradient, self.step_size)

    def take(self, index: Tensor) -> _SteepestStep:
        del index
        return self
