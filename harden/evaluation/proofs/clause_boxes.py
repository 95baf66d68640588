"""Boxes of a property's clauses in float32, mapped to one cube in which attacks search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from harden.bounds.vnnlib.parse import Clause

LARGEST: Final = float(np.finfo(np.float32).max)


@final
@dataclass(frozen=True, slots=True, eq=False)
class ClauseBox:
    """A clause as arrays: float32 limits that lie within the box, and its rows.

    Attributes:
        lower: (n,) float32.
        upper: (n,) float32.
        rows: (R, K) coefficients of the outputs.
        limits: (R,), upper limits of the rows.
    """

    lower: Tensor
    upper: Tensor
    rows: Tensor
    limits: Tensor

    @classmethod
    def of(cls, clause: Clause) -> ClauseBox | None:
        """The box of a clause; None where no float32 input lies in it."""
        lower = torch.tensor([_inside(bound, up=True) for bound in clause.lower])
        upper = torch.tensor([_inside(bound, up=False) for bound in clause.upper])
        if bool((lower > upper).any()):
            return None
        rows = torch.tensor([[_near(number) for number in row] for row, _ in clause.rows])
        return cls(lower, upper, rows, torch.tensor([_near(limit) for _, limit in clause.rows]))


@final
class ClauseBoxes:
    """Boxes as one cube of side 2 around 0, so that every attack in a ball can search them."""

    def __init__(self, boxes: list[ClauseBox], size: tuple[int, ...]) -> None:
        self.lower = torch.stack([box.lower for box in boxes]).reshape(-1, *size)
        self.upper = torch.stack([box.upper for box in boxes]).reshape(-1, *size)
        most = max((len(box.limits) for box in boxes), default=0)
        outputs = next((box.rows.shape[1] for box in boxes if len(box.rows)), 1)
        self._rows = torch.zeros(len(boxes), most, outputs)
        self._limits = torch.full((len(boxes), most), torch.inf)
        for number, box in enumerate(boxes):
            if len(box.limits):
                self._rows[number, : len(box.limits)] = box.rows
                self._limits[number, : len(box.limits)] = box.limits

    def slack(self, network: Callable[[Tensor], Tensor], cube: Tensor) -> Tensor:
        """Distance of each row to its limit, (N, R): a point satisfies a clause where none is negative."""
        if not self._limits.shape[1]:
            return 0 * cube.flatten(1).sum(1, keepdim=True)  # every input of the box satisfies it
        output = network(self.placed(cube)).flatten(1)
        return self._limits - (self._rows @ output[:, :, None])[:, :, 0]

    def placed(self, cube: Tensor, rows: Tensor | None = None) -> Tensor:
        """From the cube into the boxes, or into those of some rows."""
        lower, upper = (end if rows is None else end[rows] for end in (self.lower, self.upper))
        middle, half = lower / 2 + upper / 2, upper / 2 - lower / 2
        return torch.clamp(middle + half * cube, lower, upper)

    def in_cube(self, point: Tensor, row: int) -> Tensor:
        """From one box into the cube: (*size)."""
        lower, upper = self.lower[row], self.upper[row]
        middle, half = lower / 2 + upper / 2, upper / 2 - lower / 2
        return torch.where(half > 0, (point - middle) / half, 0.0).clamp(-1, 1)


def _near(number: Fraction) -> float:
    """The nearest float64, the largest one where the number is larger than all."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(float(np.finfo(np.float64).max), 1 if number > 0 else -1)


def _inside(bound: Fraction | None, *, up: bool) -> float:
    """The nearest float32 on the side that lies within the box; the largest numbers where it has no bound.

    Infinite, which no input reaches, where the bound is beyond the largest numbers on that side.
    """
    if bound is None:
        return -LARGEST if up else LARGEST
    if abs(bound) > LARGEST:
        if up:
            return math.inf if bound > 0 else -LARGEST
        return LARGEST if bound > 0 else -math.inf
    found = float(np.float32(float(bound)))
    if up and Fraction(found) < bound:
        return float(np.nextafter(np.float32(found), np.float32(np.inf)))
    if not up and Fraction(found) > bound:
        return float(np.nextafter(np.float32(found), np.float32(-np.inf)))
    return found
