"""What an attack needs of a loss to leave examples out that it is done with."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class DivisibleLoss(Protocol):
    """A per-example loss that can be restricted to some of its examples, whatever else it shows."""

    def __call__(self, x: Tensor) -> Tensor:
        """The loss of each example: (N, ...) -> (N,)."""
        ...

    def take(self, index: Tensor) -> DivisibleLoss:
        """The same loss on the examples at `index`."""
        ...
