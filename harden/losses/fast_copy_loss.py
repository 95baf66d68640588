"""A loss on a fast copy of the network, beside the same on the network itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from harden.errors import InputError
from harden.losses.logits import Classify
from harden.losses.loss import AimableLoss, LossFunction, SteeringLoss


@final
@dataclass(frozen=True, slots=True, eq=False)
class Steered:
    """A loss whose values and gradients come from a fast copy of the network, its verdicts from the network.

    The copy's account of an error is a claim, which an attack has the network confirm: so rounding, as of
    bfloat16, can cost an attack strength but can't make up a witness.

    Args:
        steering: the loss on the fast copy.
        exact: the same loss on the network itself; it tells errors and can be restricted, as `steering` can.
    """

    steering: SteeringLoss
    exact: SteeringLoss

    @property
    def y(self) -> Tensor:
        """The labels, int64 (N,).

        Raises:
            AttributeError: the loss shows none. No error of ours, for `isinstance` looks here too.
        """
        exact: Any = self.exact
        labels: Tensor = exact.y
        return labels

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example on the fast copy: (N,)."""
        return self.steering(x)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the fast copy errs on it, bool (N,)."""
        return self.steering.judged(x)

    def take(self, index: Tensor) -> Steered:
        """The same loss on the examples at `index`."""
        return Steered(self.steering.take(index), self.exact.take(index))

    def logits(self, x: Tensor) -> Tensor:
        """The fast copy's logits (N, K)."""
        return self.steering.logits(x)

    def aimed(self, target: Tensor) -> Steered:
        """The same of the targeted form of both parts.

        Raises:
            InputError: a part has no targeted form.
        """
        return Steered(aimable(self.steering).aimed(target), aimable(self.exact).aimed(target))


def aimable(loss: SteeringLoss) -> AimableLoss:
    """The loss as one that can be aimed at a class.

    Raises:
        InputError: it has no targeted form.
    """
    part: object = loss
    if not isinstance(part, AimableLoss):
        raise InputError(
            f"a loss {type(loss).__name__} that can't be aimed at a class",
            "a loss with labels `y` and a method `aimed(target)`",
            "use CrossEntropy, Margin or DLR of harden.losses, or an attack that is not targeted",
        )
    return part


def steered(
    make: Callable[[Classify, Tensor], LossFunction], fast: Classify, exact: Classify, y: Tensor
) -> LossFunction:
    """Make a loss that is steered by `fast` where it tells errors, else the loss on `fast` alone.

    Args:
        make: a loss's class, or anything that makes a per-example loss from (classify, y).
        fast: a fast copy of the network.
        exact: the network itself.
        y: labels, int64 (N,).
    """
    steering = make(fast, y)
    judging = make(exact, y) if isinstance(steering, SteeringLoss) else None
    if isinstance(steering, SteeringLoss) and isinstance(judging, SteeringLoss):
        return Steered(steering, judging)
    return steering
