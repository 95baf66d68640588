"""The two forms of a loss that an attack maximises: a plain function of images, and `Loss`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from harden.errors import InputError
from harden.kernels.loss_grad import LossGrad

LossFunction = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) to the loss of each example (N,). An attack maximises it and knows of no errors."""

MEMBERS = ("y", "take", "logits", "judged", "graded", "aimed")
"""What `Loss` has in addition to a plain function."""


@runtime_checkable
class Loss(Protocol):
    """A per-example loss of a network's logits and the labels y, which also judges where the network errs.

    An attack on such a loss never returns a larger loss in place of an error. It can leave examples out
    (`take`), where its field `stop_early` says so.
    """

    @property
    def y(self) -> Tensor:
        """The labels, int64 (N,)."""
        ...

    @property
    def graded(self) -> Callable[[Tensor], LossGrad] | None:
        """A function of logits (N, K): loss, verdict and the loss's gradient there, in one operation.

        None where the gradient is not known in closed form; an attack then differentiates `judged`.
        """
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example: (N, ...) -> (N,)."""
        ...

    def take(self, index: Tensor) -> Loss:
        """The same loss on the examples at `index`."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """The network's output that the loss is computed from: (N, K)."""
        ...

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,)."""
        ...

    def aimed(self, target: Tensor) -> Loss:
        """The loss of the same kind that is large where the network answers `target`, int64 (N,).

        An error of the network is still any answer but y.

        Raises:
            InputError: the loss has no targeted form.
        """
        ...


def loss_with_verdicts(loss: LossFunction) -> Loss | None:
    """The loss as a `Loss`; None for a plain function.

    Raises:
        InputError: it judges errors, yet lacks a member of `Loss`: its verdicts would be ignored in silence.
    """
    if isinstance(loss, Loss):
        return loss
    if not hasattr(loss, "judged"):
        return None
    missing = [name for name in MEMBERS if not hasattr(loss, name)]
    raise InputError(
        f"a loss {type(loss).__name__} with judged and without {', '.join(missing)}",
        "a plain function of images, or a loss with " + ", ".join(MEMBERS),
        "add what is missing: graded = None, and an aimed() that raises, where there is no such form",
    )


def no_targeted_form(loss: object) -> InputError:
    """The error of a loss that can't be aimed at a class."""
    return InputError(
        f"a loss {type(loss).__name__}, which has no targeted form",
        "a loss that can be aimed at a class: CrossEntropy, Margin or DLR",
        "write loss=harden.losses.DLR, or use an attack that is not targeted",
    )
