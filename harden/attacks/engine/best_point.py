"""Where an attack is, and which of two points is the better find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.kernels import copy_rows_


@final
@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Per example: an image, its loss, and whether the network errs there.

    Attributes:
        x: images (N, C, H, W).
        value: their loss (N,).
        wrong: bool (N,).
    """

    x: Tensor
    value: Tensor
    wrong: Tensor

    @classmethod
    def none(cls, x: Tensor) -> Point:
        """A point that any other one beats, with images of its own."""
        nothing = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        return cls(x.clone(), x.new_full((len(x),), -torch.inf), nothing)

    def take_over_(self, other: Point, among: Tensor | None = None) -> Tensor:
        """Take the other point where it is better and `among`, bool (N,), is true; say where, bool (N,).

        Better is a point on which the network errs; of two such or none such, that of larger loss: the
        largest cross-entropy need not be an error, for three classes may nearly tie with the label ahead.
        """
        wins = (other.wrong & ~self.wrong) | ((other.wrong == self.wrong) & (other.value > self.value))
        wins = wins if among is None else wins & among
        self.put_(wins, other)
        return wins

    def put_(self, where: Tensor, other: Point) -> None:
        """Take the other point's examples where `where`, bool (N,), is true."""
        copy_rows_(self.x, other.x, where)
        torch.where(where, other.value, self.value, out=self.value)
        torch.where(where, other.wrong, self.wrong, out=self.wrong)

    def rows(self, index: Tensor) -> Point:
        """The examples at these positions, int64 (M,)."""
        return Point(self.x[index], self.value[index], self.wrong[index])

    def set_rows_(self, index: Tensor, other: Point) -> None:
        """Overwrite the examples at these positions, int64 (M,)."""
        self.x[index], self.value[index], self.wrong[index] = other.x, other.value, other.wrong
