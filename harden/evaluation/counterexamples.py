"""Looks for an input that satisfies a VNN-LIB property: what bounds refute, an attack may find."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.attacks import PGD, Attack
from harden.bounds.assignment import satisfied
from harden.bounds.vnnlib import Clause, Property
from harden.draws import Draws, mix
from harden.threats import Linf

ROUNDS = (PGD(steps=20), PGD(steps=50, restarts=4), PGD(steps=200, restarts=10))
AT_ONCE = 64
Runtime = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Counterexample:
    """An input of the property's box and what the runtime makes of it.

    Attributes:
        x: float32, as the network takes one input.
        y: float32 (K,), the runtime's output.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]


def counterexample(
    network: Callable[[Tensor], Tensor],
    runtime: Runtime,
    size: tuple[int, ...],
    given: Property,
    *,
    seed: int = 0,
    until: float = math.inf,
    rounds: tuple[Attack, ...] = ROUNDS,
) -> Counterexample | None:
    """Search each clause's box by PGD for an output below all of its limits.

    Guarantee: what is returned lies in the box and satisfies every assertion as it was written, with the
    runtime's own output, in exact arithmetic. None proves nothing.

    Args:
        network: inputs (N, *size) to outputs (N, K), differentiable: gives the gradients.
        runtime: the same as it is deployed: decides.
        size: of one input.
        given: the property.
        seed: of the random starts.
        until: `time.monotonic()` after which no further round is begun.
        rounds: the attacks, the cheapest first.
    """
    clauses = [box for box in map(_Box.of, given.clauses) if box is not None]
    for number, attack in enumerate(rounds):
        for at, part in _parts(clauses):
            if number and time.monotonic() > until:
                return None
            some = _Boxes(part, size)
            draws = Draws(mix(seed, number), torch.arange(at, at + len(part)))
            found = some.attacked(network, attack, draws)
            for x, y in zip(found, runtime(found), strict=True):
                if satisfied(given, x.flatten().tolist(), y.tolist()):
                    return Counterexample(x, y)
    return None


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Box:
    """A clause in numbers: float32 limits that lie within the box, and its rows."""

    lower: Tensor
    upper: Tensor
    rows: Tensor
    limits: Tensor

    @classmethod
    def of(cls, clause: Clause) -> _Box | None:
        """None where no float32 input lies in the box."""
        lower = torch.tensor([_inside(bound, up=True) for bound in clause.lower])
        upper = torch.tensor([_inside(bound, up=False) for bound in clause.upper])
        if bool((lower > upper).any()):
            return None
        rows = torch.tensor([[float(number) for number in row] for row, _ in clause.rows])
        return cls(lower, upper, rows, torch.tensor([float(limit) for _, limit in clause.rows]))


@final
class _Boxes:
    """Boxes as one cube of side 2 around 0, so that every attack in a ball can search them."""

    def __init__(self, boxes: list[_Box], size: tuple[int, ...]) -> None:
        self._lower = torch.stack([box.lower for box in boxes]).reshape(-1, *size)
        self._upper = torch.stack([box.upper for box in boxes]).reshape(-1, *size)
        most = max((len(box.limits) for box in boxes), default=0)
        outputs = next((box.rows.shape[1] for box in boxes if len(box.rows)), 1)
        self._rows = torch.zeros(len(boxes), most, outputs)
        self._limits = torch.full((len(boxes), most), torch.inf)
        for number, box in enumerate(boxes):
            if len(box.limits):
                self._rows[number, : len(box.limits)] = box.rows
                self._limits[number, : len(box.limits)] = box.limits

    def attacked(
        self, network: Callable[[Tensor], Tensor], attack: Attack, draws: Draws
    ) -> NDArray[np.float32]:
        """One input of each box, (N, *size)."""

        def loss(cube: Tensor) -> Tensor:
            if not self._limits.shape[1]:
                return cube.flatten(1).sum(1)  # every input of the box will do
            output = network(self._placed(cube)).flatten(1)
            return -((self._rows @ output[:, :, None])[:, :, 0] - self._limits).amax(1)

        centre = torch.zeros_like(self._lower)
        found: NDArray[np.float32] = self._placed(
            attack(loss, centre, Linf(1, bounds=(-1.0, 1.0)), draws)
        ).numpy()
        return found

    def _placed(self, cube: Tensor) -> Tensor:
        """From the cube into the boxes."""
        middle, half = (self._lower + self._upper) / 2, (self._upper - self._lower) / 2
        return torch.clamp(middle + half * cube, self._lower, self._upper)


def _parts(boxes: list[_Box]) -> Iterator[tuple[int, list[_Box]]]:
    for start in range(0, len(boxes), AT_ONCE):
        yield start, boxes[start : start + AT_ONCE]


def _inside(bound: Fraction | None, *, up: bool) -> float:
    """The nearest float32 on the side that lies within the box; the largest numbers where it has no bound."""
    largest = float(np.finfo(np.float32).max)
    if bound is None:
        return -largest if up else largest
    found = float(np.float32(float(bound)))
    if up and Fraction(found) < bound:
        return float(np.nextafter(np.float32(found), np.float32(np.inf)))
    if not up and Fraction(found) > bound:
        return float(np.nextafter(np.float32(found), np.float32(-np.inf)))
    return found
