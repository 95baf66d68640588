"""Search by attacks for an input that satisfies a VNN-LIB property."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from harden.attacks import PGD, Attack
from harden.draws import Draws, mix
from harden.evaluation.proofs.clause_boxes import ClauseBox, ClauseBoxes
from harden.evaluation.proofs.random_restarts import Counterexample, FalsificationProblem
from harden.threats import Linf

ROUNDS = (PGD(steps=20), PGD(steps=50, restarts=4), PGD(steps=200, restarts=10))
AT_ONCE = 64


class _OutOfTime(Exception):  # noqa: N818  # no error: ends an attack from within its loss
    """Time is up in the middle of an attack."""


def counterexample(
    problem: FalsificationProblem,
    *,
    seed: int = 0,
    until: float = math.inf,
    rounds: tuple[Attack, ...] = ROUNDS,
) -> Counterexample | None:
    """Search each clause's box by PGD for an output below all of its limits.

    Guarantee: the returned input lies in the box and satisfies every assertion as written, with the runtime's
    own output, in exact arithmetic. None proves nothing.

    Args:
        problem: network, runtime and property.
        seed: of the random starts.
        until: the time by `time.monotonic` at which the search ends, up to one step of an attack.
        rounds: the attacks, the fastest first.
    """
    clauses = [box for box in map(ClauseBox.of, problem.given.clauses) if box is not None]
    for number, attack in enumerate(rounds):
        for at, part in _parts(clauses):
            draws = Draws(mix(seed, number), torch.arange(at, at + len(part)))
            try:
                found = problem.confirmed(
                    _attacked(problem, ClauseBoxes(part, problem.size), attack, draws, until)
                )
            except _OutOfTime:
                return None
            if found is not None:
                return found
    return None


def _attacked(
    problem: FalsificationProblem, boxes: ClauseBoxes, attack: Attack, draws: Draws, until: float
) -> Tensor:
    """One input of each box, (N, *size)."""

    def loss(cube: Tensor) -> Tensor:
        if time.monotonic() >= until:
            raise _OutOfTime
        return boxes.slack(problem.network, cube).amin(1)

    centre = torch.zeros_like(boxes.lower)
    return boxes.placed(attack(loss, centre, Linf(1, bounds=(-1.0, 1.0)), draws))


def _parts(boxes: list[ClauseBox]) -> Iterator[tuple[int, list[ClauseBox]]]:
    for start in range(0, len(boxes), AT_ONCE):
        yield start, boxes[start : start + AT_ONCE]
