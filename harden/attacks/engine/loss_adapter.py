"""One interface to a plain function, a `Loss` and a loss on a fast copy: value, verdict, gradient."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from harden.attacks.attack import closed_form_gradient, loss_and_gradient
from harden.attacks.engine.best_point import Point
from harden.attacks.engine.cuda_graph import replayed
from harden.attacks.engine.nonfinite_gradients import count_gradients
from harden.losses import FastCopyLoss, Loss, LossFunction, loss_with_verdicts


@final
class LossAdapter:
    """A loss of either form as attacks compute it.

    Args:
        loss: any per-example loss; a plain function judges no errors.
        gradient: whether gradients are needed.

    Attributes:
        judges: whether the loss judges errors and can be restricted to some of its examples.
        on_fast_copy: whether values and gradients are a fast copy's, and the network itself confirms errors.

    Raises:
        InputError: a loss that judges errors lacks a member of `harden.losses.Loss`.
    """

    __slots__ = ("_exact", "_fast", "_gradient", "_loss", "_plain", "judges", "on_fast_copy")

    def __init__(self, loss: LossFunction, *, gradient: bool = True) -> None:
        self._plain, self._gradient = loss, gradient
        self._loss = self._fast = self._exact = loss_with_verdicts(loss)
        self.judges, self.on_fast_copy = self._loss is not None, isinstance(loss, FastCopyLoss)
        if isinstance(loss, FastCopyLoss):
            self._fast, self._exact = loss.fast, loss.exact

    def point_and_gradient(self, x: Tensor) -> tuple[Point, Tensor]:
        """The point x with its loss, and the gradient there, zeros where none is needed.

        Results hold until the next call.
        """
        if not self._gradient:
            return self.look(x), x.new_zeros(1).expand(len(x))
        if self._fast is None:
            value, gradient = loss_and_gradient(self._plain, x)
            point = Point(x, value, _no_errors(x))
        else:
            found = replayed(self._fast, x, judged_gradient) if self.on_fast_copy else None
            point, gradient = judged_gradient(self._fast, x) if found is None else found
        count_gradients(gradient)
        return point, gradient

    def exactly(self, x: Tensor) -> Point:
        """The point x with its loss, as the network itself judges it."""
        return self._judged(self._exact, x)

    def look(self, x: Tensor) -> Point:
        """The point x with its loss, by the fast copy where there is one."""
        return self._judged(self._fast, x)

    def take(self, index: Tensor) -> LossAdapter:
        """The same for the examples at index, int64 (M,); for all where the loss is a plain function."""
        return self if self._loss is None else LossAdapter(self._loss.take(index), gradient=self._gradient)

    @torch.no_grad()
    def _judged(self, loss: Loss | None, x: Tensor) -> Point:
        if loss is None:
            return Point(x, self._plain(x), _no_errors(x))
        return Point(x, *loss.judged(x))


def judged_gradient(loss: Loss, x: Tensor) -> tuple[Point, Tensor]:
    """The point x with its loss and verdict, and the loss's gradient there."""
    known = closed_form_gradient(loss, x)
    if known is not None:
        return Point(x, known[0].loss, known[0].wrong), known[1]
    wrong = _no_errors(x)

    def value_of(x: Tensor) -> Tensor:
        nonlocal wrong
        value, wrong = loss.judged(x)
        return value

    value, gradient = loss_and_gradient(value_of, x)
    return Point(x, value, wrong), gradient


def _no_errors(x: Tensor) -> Tensor:
    return torch.zeros(len(x), dtype=torch.bool, device=x.device)
