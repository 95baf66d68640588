"""Which clauses of a VNN-LIB property no input can satisfy: if it is all of them, the property holds."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from harden.bounds.certification import Method
from harden.bounds.coefficients import Whole
from harden.bounds.crown import relaxed
from harden.bounds.program import Program
from harden.bounds.region import Region
from harden.bounds.splits import Questions
from harden.bounds.vnnlib import Clause, Property
from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What is known of one clause.

    Args:
        refuted: it is proved that no input satisfies it.
        candidate: of a clause that branching left open, the float32 input, as the network takes it, that is
            likeliest to satisfy it: to be replayed in the runtime, and not believed.
    """

    refuted: bool
    candidate: Tensor | None = None


def refuted(program: Program, given: Property, method: Method | None = None) -> tuple[bool, ...]:
    """Say of each clause whether it is proved that no input of its box satisfies it, as `answers` does."""
    return tuple(answer.refuted for answer in answers(program, given, method))


def answers(program: Program, given: Property, method: Method | None = None) -> tuple[Answer, ...]:
    """Say of each clause whether it is proved that no input of its box satisfies it.

    A clause asks for an output with a . Y <= b in every row; it is refuted when in one row the lower bound of
    a . Y over the box is above b. Branch and bound may take another row in each part. Guarantee: as
    `harden.bounds.certify`, for what the file computes in float32. What is not refuted is open.

    Args:
        program: the network; its input is taken in the order of its elements.
        given: what a counterexample has to satisfy.
        method: how hard to try.

    Raises:
        InputError: the property is about other numbers of inputs or outputs, an input has no bound, or a
            coefficient is no number that float32 holds.
    """
    method, begin = method or Method(), time.monotonic()
    check_fits(program, given)
    with torch.no_grad():
        found = [Answer(_refuted(program, clause, method)) for clause in given.clauses]
        left = [at for at, answer in enumerate(found) if not answer.refuted and given.clauses[at].rows]
        for number, at in enumerate(left):
            if method.branching is not None:
                share = method.branching.within(begin, len(left) - number)
                found[at] = _branched(program, given.clauses[at], replace(method, branching=share))
    return tuple(found)


def check_fits(program: Program, given: Property) -> None:
    """Refuse a property of another network.

    Raises:
        InputError: it is about other numbers of inputs or outputs, or an input has no bound.
    """
    inputs = math.prod(program.size)
    if (given.inputs, given.outputs) != (inputs, program.classes):
        raise InputError(
            f"a property of {given.inputs} inputs and {given.outputs} outputs",
            f"{inputs} and {program.classes}, as the network has them",
            "take the specification that belongs to this network",
        )
    for clause in given.clauses:
        for bounds, side in ((clause.lower, "a lower"), (clause.upper, "an upper")):
            if None in bounds:
                raise InputError(
                    f"X_{bounds.index(None)} without {side} bound",
                    "a box",
                    "give every input both of its bounds",
                )


def check_boxes(given: Property) -> None:
    """Refuse a property that no input can be about: it would hold of every network.

    Raises:
        InputError: no input lies in any of its boxes.
    """
    if given.clauses and all(_is_empty(clause) for clause in given.clauses):
        raise InputError(
            "an empty box: an input whose lower bound is above its upper one",
            "a box that holds an input",
            "look at the bounds of X in the specification",
        )


def _is_empty(clause: Clause) -> bool:
    return any(
        low is not None and high is not None and low > high
        for low, high in zip(clause.lower, clause.upper, strict=True)
    )


def _refuted(program: Program, clause: Clause, method: Method) -> bool:
    lower, upper = _ends(clause.lower, up=False), _ends(clause.upper, up=True)
    if bool((lower > upper).any()):
        return True  # nothing lies in the box
    if not clause.rows:
        return False
    region, (rows, limits) = _box(program, lower, upper), _asked(clause)
    image, start = torch.zeros(len(rows), dtype=torch.int64), Whole(rows.reshape(-1, *program.logits))
    for backward in (False, True):
        found = relaxed(
            program, region, parallel=method.parallel, rounding=method.rounding, backward=backward
        )
        if backward and method.climb is not None:
            bounds = method.climb(found, program.output, start, image, limits)
        else:
            bounds = found.lower(program.output, start, image)
        if bool((bounds > limits).any()):
            return True
    return False


def _branched(program: Program, clause: Clause, method: Method) -> Answer:
    if method.branching is None:
        return Answer(False)
    region = _box(program, _ends(clause.lower, up=False), _ends(clause.upper, up=True))
    rows, limits = _asked(clause)
    found = relaxed(program, region, parallel=method.parallel, rounding=method.rounding)
    asked = Questions(torch.zeros(1, dtype=torch.int64), rows[None], limits[None])
    answer = method.branching(found, asked)
    if bool(answer.bounds[0] > 0):
        return Answer(True)
    return Answer(False, answer.points[0])


def _box(program: Program, lower: Tensor, upper: Tensor) -> Region:
    return Region(lower.reshape(1, *program.size), upper.reshape(1, *program.size))


def _asked(clause: Clause) -> tuple[Tensor, Tensor]:
    """Coefficients (R, K) of a clause's rows, and limits (R,), rounded up."""
    rows = torch.tensor([[_held(number) for number in row] for row, _ in clause.rows], dtype=torch.float64)
    return rows, torch.tensor([_rounded(limit, up=True) for _, limit in clause.rows], dtype=torch.float64)


def _ends(bounds: tuple[Fraction | None, ...], *, up: bool) -> Tensor:
    return torch.tensor(
        [_rounded(bound, up=up) for bound in bounds if bound is not None], dtype=torch.float64
    )


def _rounded(value: Fraction, *, up: bool) -> float:
    """The nearest float64 on one side."""
    found = float(value)
    if up and Fraction(found) < value:
        return math.nextafter(found, math.inf)
    if not up and Fraction(found) > value:
        return math.nextafter(found, -math.inf)
    return found


def _held(value: Fraction) -> float:
    found = float(value)
    if Fraction(found) != value or float(torch.tensor(found, dtype=torch.float32)) != found:
        raise InputError(
            f"the coefficient {value}",
            "one that float32 holds",
            "multiply its row so that it is a whole number",
        )
    return found
