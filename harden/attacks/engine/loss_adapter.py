"""A loss as a search watches it: value and gradient, where the network errs, whether that is certain."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from harden.attacks.attack import graded_gradient, loss_and_gradient
from harden.attacks.engine.best_point import Point
from harden.attacks.engine.cuda_graph import replayed
from harden.attacks.engine.gradient_meter import count_gradients
from harden.losses import DivisibleLoss, GradedLoss, JudgedLoss, LossFunction, Steered


@final
class Watched:
    """A loss, whatever it can tell.

    Args:
        loss: any per-example loss; one without `judged` knows of no error.
    """

    def __init__(self, loss: LossFunction) -> None:
        self._loss = loss

    @property
    def steered(self) -> bool:
        """Whether a fast copy of the network gives the values: the network itself has to confirm errors."""
        return isinstance(self._loss, Steered)

    @property
    def stoppable(self) -> bool:
        """Whether errors are told, and the loss can go on with some of its examples."""
        return self.tells and self.divisible

    @property
    def tells(self) -> bool:
        """Whether errors are told."""
        return isinstance(self._loss, JudgedLoss)

    @property
    def divisible(self) -> bool:
        """Whether the loss can go on with some of its examples."""
        return isinstance(self._loss, DivisibleLoss)

    def climb(self, x: Tensor) -> tuple[Point, Tensor]:
        """The point x with its loss, and the loss's gradient there; results hold until the next call."""
        found = replayed(self._loss.steering, x, _climbed) if isinstance(self._loss, Steered) else None
        point, gradient = _climbed(self._loss, x) if found is None else found
        count_gradients(gradient)
        return point, gradient

    @torch.no_grad()
    def exactly(self, x: Tensor) -> Point:
        """The point x as the network itself judges it."""
        value, wrong = _judged(self._loss.exact if isinstance(self._loss, Steered) else self._loss, x)
        return Point(x, value, wrong)

    @torch.no_grad()
    def look(self, x: Tensor) -> Point:
        """The point x with its loss, by the fast copy where there is one."""
        value, wrong = _judged(self._loss, x)
        return Point(x, value, wrong)

    def take(self, index: Tensor) -> Watched:
        """The same for the examples at index, int64 (M,)."""
        if not isinstance(self._loss, DivisibleLoss):
            return self
        return Watched(self._loss.take(index))


def _climbed(loss: LossFunction, x: Tensor) -> tuple[Point, Tensor]:
    climbed: LossFunction = loss.steering if isinstance(loss, Steered) else loss
    graded: object = climbed
    if isinstance(graded, GradedLoss):
        found = graded_gradient(graded, x)
        if found is not None:
            out, gradient = found
            return Point(x, out.loss, out.wrong), gradient
    wrong = torch.zeros(0, dtype=torch.bool)

    def valued(x: Tensor) -> Tensor:
        nonlocal wrong
        value, wrong = _judged(climbed, x)
        return value

    value, gradient = loss_and_gradient(valued, x)
    return Point(x, value, wrong), gradient


def _judged(loss: LossFunction, x: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(loss, JudgedLoss):
        return loss.judged(x)
    return loss(x), torch.zeros(len(x), dtype=torch.bool, device=x.device)
