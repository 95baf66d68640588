"""The best point of each example: an error of the network first, then the larger loss."""

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

    def take_over_(self, other: Point, rows: Tensor | None = None, among: Tensor | None = None) -> Tensor:
        """Take the other point where it is better; return where, bool (M,).

        Better is a point on which the network errs; of two such or none such, that of larger loss: the
        largest cross-entropy need not be an error, for three classes may nearly tie with the label ahead.

        Args:
            other: a point of M examples.
            rows: their positions here, int64 (M,); None where they are all N in order.
            among: examples that may change, bool (M,); all by default.
        """
        value, wrong = (self.value, self.wrong) if rows is None else (self.value[rows], self.wrong[rows])
        better = (other.wrong & ~wrong) | ((other.wrong == wrong) & (other.value > value))
        better = better if among is None else better & among
        self.put_(better, other, rows)
        return better

    def put_(self, where: Tensor, other: Point, rows: Tensor | None = None) -> None:
        """Take the other point's examples where `where`, bool (M,), is true; `rows` as in `take_over_`."""
        if rows is not None and not where.is_cuda:  # on CUDA, finding the positions synchronises
            here = where.nonzero().squeeze(1)
            self.set_rows_(rows[here], other.rows(here))
            return
        own = self if rows is None else self.rows(rows)
        copy_rows_(own.x, other.x, where)
        torch.where(where, other.value, own.value, out=own.value)
        torch.where(where, other.wrong, own.wrong, out=own.wrong)
        if rows is not None:
            self.set_rows_(rows, own)

    def rows(self, index: Tensor) -> Point:
        """The examples at these positions, int64 (M,)."""
        return Point(self.x[index], self.value[index], self.wrong[index])

    def set_rows_(self, index: Tensor, other: Point) -> None:
        """Overwrite the examples at these positions, int64 (M,)."""
        self.x[index], self.value[index], self.wrong[index] = other.x, other.value, other.wrong
