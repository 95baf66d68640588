"""Gradient ascent in the boxes of a property from random starts, until a counterexample or a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.bounds.vnnlib.check_counterexample import satisfies
from harden.bounds.vnnlib.parse import Property
from harden.draws import Draws, mix
from harden.evaluation.proofs.clause_boxes import ClauseBox, ClauseBoxes

STEP_SIZES: Final = (0.25, 1.0, 0.05)
"""First step sizes of the ascents, in half widths of the box; they decay to a tenth."""
STEPS: Final = (20, 50, 100)
NEAR: Final = 0.1
"""Largest distance of a start from a given point, in half widths."""
Runtime = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Counterexample:
    """An input of the property's box and the runtime's output.

    Attributes:
        x: float32, one input of the network.
        y: float32 (K,), the runtime's output.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]


@final
@dataclass(frozen=True, slots=True, eq=False)
class FalsificationProblem:
    """A network and a property to falsify.

    Attributes:
        network: inputs (N, *size) to outputs (N, K), differentiable: gives the gradients.
        runtime: the deployed network, which decides.
        size: of one input.
        given: the property.
    """

    network: Callable[[Tensor], Tensor]
    runtime: Runtime
    size: tuple[int, ...]
    given: Property

    def confirmed(self, x: Tensor) -> Counterexample | None:
        """The first of some points (N, *size) that satisfies the property with the runtime's own output."""
        points: NDArray[np.float32] = x.detach().cpu().numpy()
        if not len(points):
            return None
        for point, y in zip(points, self.runtime(points), strict=True):
            if satisfies(self.given, point.flatten().tolist(), y.tolist()):
                return Counterexample(point, y)
        return None


@final
class RandomRestarts:
    """Ascents that differ in start, step size and objective; each call continues with new ones.

    Starts are uniform in the box, at its corners, or near points that were given; steps go along the
    gradient's sign (Madry et al., 1706.06083) and fall from a length of `STEP_SIZES`. The objective is the
    least slack of all rows of a clause, or the sum of the negative ones. The same seed makes the same ascents
    in the same order; the time limit determines their number.

    Args:
        problem: network, runtime and property.
        together: ascents at a time.
        seed: of the starts.
    """

    def __init__(self, problem: FalsificationProblem, together: int, seed: int) -> None:
        self._problem, self._together, self._seed = problem, together, seed
        boxes = {number: ClauseBox.of(clause) for number, clause in enumerate(problem.given.clauses)}
        self._boxes = {number: box for number, box in boxes.items() if box is not None}
        self._round = 0

    def run(self, until: float, points: Mapping[int, Tensor] | None = None) -> Counterexample | None:
        """Make ascents until the runtime confirms a counterexample, or return None.

        Args:
            until: the time by `time.monotonic` at which the search ends, up to one step.
            points: by a clause's number, where a counterexample is likely: every other ascent in its box
                starts near it, and clauses without one are skipped; None for all clauses without points.
        """
        chosen = [number for number in self._boxes if points is None or number in points]
        while chosen and time.monotonic() < until:
            numbers = self._numbers(chosen)
            boxes = ClauseBoxes([self._boxes[number] for number in numbers], self._problem.size)
            found = self._ascended(boxes, self._starts(boxes, numbers, points or {}), until)
            self._round += 1
            if found is not None:
                return found
        return None

    def _numbers(self, chosen: list[int]) -> list[int]:
        """The clauses of one batch of ascents: in turn, and several times each where they are few."""
        size = self._together
        begin = self._round * size
        return [chosen[at % len(chosen)] for at in range(begin, begin + size)]

    def _starts(self, boxes: ClauseBoxes, numbers: list[int], points: Mapping[int, Tensor]) -> Tensor:
        """Starts in the cube (N, *size): uniform or at corners, half of them near given points."""
        draws = Draws(mix(self._seed, 0x72657374, self._round), torch.arange(len(numbers)))
        start = 2 * draws.uniform(self._problem.size) - 1
        if self._round % 3 == 1:
            start = start.sign()
        for row, number in enumerate(numbers):
            if number in points and row % 2 == 0:
                at = boxes.in_cube(points[number].reshape(self._problem.size), row)
                # The first one is the point itself.
                start[row] = (at + (NEAR * start[row] if row else 0.0)).clamp(-1, 1)
        return start

    def _ascended(self, boxes: ClauseBoxes, cube: Tensor, until: float) -> Counterexample | None:
        steps, summed = STEPS[self._round // 2 % len(STEPS)], bool(self._round % 2)
        size = STEP_SIZES[self._round % len(STEP_SIZES)]
        for step in range(steps + 1):
            with torch.enable_grad():
                cube = cube.detach().requires_grad_()
                slack = boxes.slack(self._problem.network, cube)
                lacking = slack.clamp_max(0).sum(1) if summed else slack.amin(1)
                (gradient,) = torch.autograd.grad(lacking.sum(), cube, materialize_grads=True)
            met = (slack.detach() >= 0).all(1)
            if bool(met.any()):
                found = self._problem.confirmed(boxes.placed(cube.detach()[met], met))
                if found is not None:
                    return found
            if step == steps or time.monotonic() >= until:
                return None
            length = size * 0.1 ** (step / steps)
            cube = (cube.detach() + length * gradient.nan_to_num(0.0).sign()).clamp(-1, 1)
        return None
