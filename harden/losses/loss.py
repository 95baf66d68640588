"""What an attack may ask of a loss, from a plain callable up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from harden.kernels.loss_grad import LossGrad

LossFunction = Callable[[Tensor], Tensor]


@runtime_checkable
class Loss(Protocol):
    """A per-example loss that can be restricted to some of its examples and that shows its logits.

    A plain callable `x -> (N,)` serves as a loss too; an attack then works on whole batches.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example: (N, ...) -> (N,)."""
        ...

    def take(self, index: Tensor) -> Loss:
        """The same loss on the examples at `index`."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """The network's output that the loss is computed from: (N, K)."""
        ...


@runtime_checkable
class JudgedLoss(Protocol):
    """A loss that also tells where the network errs: no attack then trades a witness for a larger loss."""

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,)."""
        ...


@runtime_checkable
class GradedLoss(Protocol):
    """A loss of a network's logits alone, whose gradient there is known in closed form."""

    def logits(self, x: Tensor) -> Tensor:
        """The network's output that the loss is computed from: (N, K)."""
        ...

    def graded(self, logits: Tensor) -> LossGrad:
        """Loss, verdict and the loss's gradient at logits (N, K), in one operation."""
        ...


@runtime_checkable
class SteeringLoss(Protocol):
    """A loss that tells errors, shows its logits and can be restricted to some of its examples."""

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example: (N, ...) -> (N,)."""
        ...

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,)."""
        ...

    def take(self, index: Tensor) -> SteeringLoss:
        """The same loss on the examples at `index`."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """The network's output that the loss is computed from: (N, K)."""
        ...


@runtime_checkable
class AimableLoss(Protocol):
    """A steering loss of labels that knows its targeted form: what climbs towards one class of choice.

    A `Steered` loss has the methods whatever it is made of; where a part can't be aimed, `aimed` raises
    `InputError`.
    """

    @property
    def y(self) -> Tensor:
        """The labels, int64 (N,)."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example: (N, ...) -> (N,)."""
        ...

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the network errs on it, bool (N,)."""
        ...

    def take(self, index: Tensor) -> AimableLoss:
        """The same loss on the examples at `index`."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """The network's output that the loss is computed from: (N, K)."""
        ...

    def aimed(self, target: Tensor) -> SteeringLoss:
        """The loss of the same kind that is large where the network answers `target`, int64 (N,).

        What it calls an error stays any answer but y.
        """
        ...
