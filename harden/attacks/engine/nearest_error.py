"""Result of a minimal-norm attack: the nearest error that it found around each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.kernels import copy_rows_


@final
@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """Per example: the nearest point found on which the network errs.

    Attributes:
        x_adv: that point (N, C, H, W), in the box; x itself where none was found.
        distance: its distance from x in the threat's norm, float64 (N,), in pixel units; inf where none was
            found, 0 where the network errs on x.
    """

    x_adv: Tensor
    distance: Tensor

    @classmethod
    def none(cls, x: Tensor) -> Nearest:
        """Nothing found yet, with images of its own."""
        return cls(x.clone(), torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device))

    def take_over_(self, x_adv: Tensor, distance: Tensor, wrong: Tensor) -> None:
        """Take the points on which the network errs, bool (N,), where they are nearer."""
        nearer = wrong & (distance < self.distance)
        copy_rows_(self.x_adv, x_adv, nearer)
        torch.where(nearer, distance, self.distance, out=self.distance)

    def take_over_rows_(self, index: Tensor, other: Nearest) -> None:
        """The same for the examples at these positions, int64 (M,), with what was found for them."""
        own = self.rows(index)
        own.take_over_(other.x_adv, other.distance, other.distance.isfinite())
        self.x_adv[index], self.distance[index] = own.x_adv, own.distance

    def rows(self, index: Tensor) -> Nearest:
        """The examples at these positions, int64 (M,)."""
        return Nearest(self.x_adv[index], self.distance[index])
