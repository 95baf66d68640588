"""Refutation of the clauses of a VNN-LIB property by bounds: where all are refuted, the property holds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, final

import torch
from torch import Tensor

from harden.bounds.branch_and_bound.prove_regions import Branching
from harden.bounds.branch_and_bound.search import PartSearch
from harden.bounds.branch_and_bound.splits import VerificationQueries
from harden.bounds.certification import Method, shared
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.bounds.crown.intermediate_bounds import relax
from harden.bounds.program import Program
from harden.bounds.region import Region
from harden.bounds.vnnlib.parse import Clause, Property
from harden.errors import InputError


@final
@dataclass(frozen=True, slots=True, eq=False)
class ClauseResult:
    """The result of one clause.

    Args:
        refuted: it is proved that no input satisfies it.
        candidate: of a clause that branching left open, the float32 input, as the network takes it, that is
            likeliest to satisfy it: to be replayed in the runtime, and not believed.
        stopped: time was up before the method had done all that it does.
    """

    refuted: bool
    candidate: Tensor | None = None
    stopped: bool = False


Probe = Callable[[int, Tensor], bool]
"""Searches for a counterexample of a clause near a point; True if it found one."""
LARGEST_64: Final = 1.7976931348623157e308
TURNS: Final = 4
"""A turn is this part of an open clause's share of the time that is left."""
SHORTEST: Final = 0.25
"""Seconds of a turn at least."""


def refuted_clauses(
    program: Program | Sequence[Program], given: Property, method: Method | None = None
) -> tuple[bool, ...]:
    """For each clause, True if it is proved that no input of its box satisfies it."""
    return tuple(answer.refuted for answer in refute_clauses(program, given, method))


def refute_clauses(
    program: Program | Sequence[Program],
    given: Property,
    method: Method | None = None,
    *,
    until: float = math.inf,
    probe: Probe | None = None,
) -> tuple[ClauseResult, ...]:
    """Say of each clause whether it is proved that no input of its box satisfies it.

    A clause requires an output with a . Y <= b in every row; it is refuted when in one row the lower bound of
    a . Y over the box is above b. Branch and bound may take another row in each part; with a time limit all
    open clauses are searched in turn, each for a share of what is left. Guarantee: as
    `harden.bounds.certify`, for what the file computes in float32. What is not refuted is open.

    Args:
        program: the network; its input is taken in the order of its elements. Or several, the graphs that a
            runtime executes for one file: a clause is refuted when it is for each of them.
        given: what a counterexample has to satisfy.
        method: how hard to try.
        until: by `time.monotonic`, when no further bounds are begun: what is left then is open.
        probe: called with a clause's number and its likeliest counterexample whenever its search pauses; the
            whole search ends once it returns True.

    Raises:
        InputError: the property is about other numbers of inputs or outputs, an input has no bound, or a
            coefficient is no number that float32 holds.
    """
    method = method or Method()
    programs = (program,) if isinstance(program, Program) else tuple(program)
    found = [ClauseResult(True) for _ in given.clauses]
    for number, each in enumerate(programs):
        left = [at for at, answer in enumerate(found) if answer.refuted]
        some = replace(given, clauses=tuple(given.clauses[at] for at in left))
        end = shared(until, len(programs) - number)
        said = _answers(each, some, method, end, None if probe is None else _of(left, probe))
        for at, answer in zip(left, said, strict=True):
            found[at] = answer
    return tuple(found)


def _of(places: list[int], probe: Probe) -> Probe:
    """The same on clauses that are some of all."""
    return lambda at, point: probe(places[at], point)


def _answers(
    program: Program, given: Property, method: Method, until: float, probe: Probe | None
) -> list[ClauseResult]:
    """The results of each clause for one program."""
    check_fits(program, given)
    known = _BoxRelaxations(program, method, until)
    with torch.no_grad():
        found = [known.refuted(clause) for clause in given.clauses]
        left = [at for at, answer in enumerate(found) if not answer.refuted and given.clauses[at].rows]
        if method.branching is not None:
            for at, answer in _branched(known, given, left, method.branching.before(until), probe):
                found[at] = answer
    return found


def _branched(
    known: _BoxRelaxations, given: Property, left: list[int], branching: Branching, probe: Probe | None
) -> Iterator[tuple[int, ClauseResult]]:
    """Search clauses in turn until each is answered, or time is up: what is known of one after each turn."""
    until = math.inf if branching.seconds is None else time.monotonic() + branching.seconds
    searches: dict[int, PartSearch] = {}
    for at in left:
        yield at, ClauseResult(False, stopped=True)
    while left and time.monotonic() < until:
        for at in tuple(left):
            end = until
            if until < math.inf:
                now = time.monotonic()
                end = min(until, now + max((until - now) / (TURNS * len(left)), SHORTEST))
            if at not in searches:
                searches[at] = known.search(given.clauses[at], branching, end)
                searches[at].memory //= len(left)
            searches[at].run(end)
            said = searches[at].answers()
            is_refuted = bool(said.bounds[0] > 0)
            answer = ClauseResult(is_refuted, None if is_refuted else said.points[0], bool(said.stopped[0]))
            yield at, answer
            if answer.candidate is not None and probe is not None and probe(at, answer.candidate):
                return
            if not answer.stopped:
                left.remove(at)
                del searches[at]


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
            "check the bounds of X in the specification",
        )


def box_of(clause: Clause, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The ends of a clause's box, rounded outwards: float64 (1, *size) each."""
    lower, upper = _ends(clause.lower, up=False), _ends(clause.upper, up=True)
    return lower.reshape(1, *size), upper.reshape(1, *size)


def _is_empty(clause: Clause) -> bool:
    return any(
        low is not None and high is not None and low > high
        for low, high in zip(clause.lower, clause.upper, strict=True)
    )


@final
class _BoxRelaxations:
    """Relaxations of the latest box: the clauses of a disjunction mostly share one."""

    def __init__(self, program: Program, method: Method, until: float) -> None:
        self._program, self._method, self._until = program, method, until
        self._box: tuple[object, object] | None = None
        self._found: dict[bool, Relaxation] = {}

    def refuted(self, clause: Clause) -> ClauseResult:
        """The result of one relaxation of a clause, by the fastest method first."""
        if _is_empty(clause):
            return ClauseResult(True)
        if not clause.rows:
            return ClauseResult(False)
        rows, limits = _rows_and_limits(clause)
        image, start = (
            torch.zeros(len(rows), dtype=torch.int64),
            DenseCoefficients(rows.reshape(-1, *self._program.logits)),
        )
        for backward in (False, True)[: 1 + self._method.backward]:
            if time.monotonic() >= self._until:
                return ClauseResult(False, stopped=True)
            found, ascent = self._relaxed(clause, backward, self._until), self._method.climb
            if backward and ascent is not None:
                ascent = ascent.before(self._until)
                bounds = ascent(found, self._program.output, start, image, limits)
            else:
                bounds = found.lower(self._program.output, start, image)
            if bool((bounds > limits).any()):
                return ClauseResult(True)
        return ClauseResult(False, stopped=time.monotonic() >= self._until)

    def search(self, clause: Clause, branching: Branching, until: float) -> PartSearch:
        """Branch and bound on a clause, before its first part."""
        rows, limits = _rows_and_limits(clause)
        queries = VerificationQueries(torch.zeros(1, dtype=torch.int64), rows[None], limits[None])
        return branching.search(self._relaxed(clause, True, until), queries, until)

    def _relaxed(self, clause: Clause, backward: bool, until: float) -> Relaxation:
        if self._box != (clause.lower, clause.upper):
            self._box, self._found = (clause.lower, clause.upper), {}
        if backward not in self._found:
            self._found[backward] = relax(
                self._program,
                Region(*box_of(clause, self._program.size)),
                parallel=self._method.parallel,
                rounding=self._method.rounding,
                backward=backward,
                until=until,
            )
        return self._found[backward]


def _rows_and_limits(clause: Clause) -> tuple[Tensor, Tensor]:
    """Coefficients (R, K) of a clause's rows, and limits (R,), rounded up."""
    rows = torch.tensor([[_held(number) for number in row] for row, _ in clause.rows], dtype=torch.float64)
    return rows, torch.tensor([_rounded(limit, up=True) for _, limit in clause.rows], dtype=torch.float64)


def _ends(bounds: tuple[Fraction | None, ...], *, up: bool) -> Tensor:
    return torch.tensor(
        [_rounded(bound, up=up) for bound in bounds if bound is not None], dtype=torch.float64
    )


def _rounded(value: Fraction, *, up: bool) -> float:
    """The nearest float64 on one side; an infinite one where no number is."""
    try:
        found = float(value)
    except OverflowError:
        largest = math.inf if up == (value > 0) else LARGEST_64
        return largest if value > 0 else -largest
    if up and Fraction(found) < value:
        return math.nextafter(found, math.inf)
    if not up and Fraction(found) > value:
        return math.nextafter(found, -math.inf)
    return found


def _held(value: Fraction) -> float:
    found = float(value) if abs(value) <= LARGEST_64 else math.inf
    if (
        not math.isfinite(found)
        or Fraction(found) != value
        or float(torch.tensor(found, dtype=torch.float32)) != found
    ):
        shown = str(value)[:60] if abs(value) <= LARGEST_64 else "beyond float64"
        raise InputError(
            f"the coefficient {shown}",
            "one that float32 holds",
            "multiply its row so that it is a whole number",
        )
    return found
