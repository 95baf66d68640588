"""A loss whose gradients come from a fast copy of the network and whose verdicts come from the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor

from harden.kernels.loss_grad import LossGrad
from harden.losses.logit_functions import Classify
from harden.losses.loss import Loss, LossFunction, loss_with_verdicts


@final
@dataclass(frozen=True, slots=True, eq=False)
class FastCopyLoss:
    """A loss on a fast copy of the network, for values and gradients, and the same on the network itself.

    An error of the copy is a candidate, which an attack has the network confirm: so rounding, as of bfloat16,
    can cost an attack strength but can't produce a false witness.

    Args:
        fast: the loss on the fast copy.
        exact: the same loss on the network itself.
    """

    fast: Loss
    exact: Loss

    @property
    def y(self) -> Tensor:
        """The labels, int64 (N,)."""
        return self.exact.y

    @property
    def graded(self) -> Callable[[Tensor], LossGrad] | None:
        """The closed form of the loss on the fast copy, if there is one."""
        return self.fast.graded

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example on the fast copy: (N,)."""
        return self.fast(x)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the fast copy errs on it, bool (N,)."""
        return self.fast.judged(x)

    def take(self, index: Tensor) -> FastCopyLoss:
        """The same loss on the examples at `index`."""
        return FastCopyLoss(self.fast.take(index), self.exact.take(index))

    def logits(self, x: Tensor) -> Tensor:
        """The fast copy's logits (N, K)."""
        return self.fast.logits(x)

    def aimed(self, target: Tensor) -> FastCopyLoss:
        """The targeted form of both parts.

        Raises:
            InputError: a part has no targeted form.
        """
        return FastCopyLoss(self.fast.aimed(target), self.exact.aimed(target))


def with_fast_copy(
    make: Callable[[Classify, Tensor], LossFunction], fast: Classify, exact: Classify, y: Tensor
) -> LossFunction:
    """Make a `FastCopyLoss`, or where the loss is a plain function, the loss on `fast` alone.

    Args:
        make: a loss's class, or anything that makes a per-example loss from (classify, y).
        fast: a fast copy of the network.
        exact: the network itself.
        y: labels, int64 (N,).

    Raises:
        InputError: a loss that judges errors lacks a member of `harden.losses.Loss`.
    """
    on_copy = make(fast, y)
    surrogate = loss_with_verdicts(on_copy)
    if surrogate is None:
        return on_copy
    judge = loss_with_verdicts(make(exact, y))
    return on_copy if judge is None else FastCopyLoss(surrogate, judge)
