"""Decision of VNN-LIB properties of an ONNX file: a counterexample, a proof, or neither."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, final

import torch
from torch import Tensor

from harden.artefact.runtime.executed_programs import executions
from harden.artefact.runtime.session import Session, read_model
from harden.artefact.runtime.session_memory import limit_arena
from harden.bounds import Branching, Method, Program
from harden.bounds.region import Region
from harden.bounds.vnnlib.parse import Property
from harden.bounds.vnnlib.prove_unsat import ClauseResult, box_of, check_boxes, check_fits, refute_clauses
from harden.certificate.canonical_json import sha256_bytes
from harden.certificate.optimisation_levels import DEFAULT
from harden.errors import InputError
from harden.evaluation.proofs.falsify import counterexample
from harden.evaluation.proofs.random_restarts import Counterexample, FalsificationProblem, RandomRestarts
from harden.evaluation.proofs.runtime_agreement import (
    ComparedRuntime,
    Disagreement,
    Execution,
    first_disagreement,
    points_of,
)
from harden.graph import Graph, GraphNetwork
from harden.models import untouched

MINUTES = 5.0
"""The limit of time where none is given."""
PARTS = 2**16
"""The most parts that a clause is cut into where no time was given."""
BOXES: Final = 16
"""Boxes in which the runtime is compared with bounds: the first ones, or so many times over."""
VALUES, MOST_TOGETHER = 2**22, 256
"""The most values of the network, and the most inputs, that are attacked at a time."""
_ATTACK_SHARE = 0.2
"""Share of the time for attacks before proofs are tried."""


@final
@dataclass(frozen=True, slots=True)
class PropertySearch:
    """The settings of a decision about a property.

    Attributes:
        method: of proof.
        minutes: the limit of time; attacks and branching then go on until the answer is known or time is up.
            None: MINUTES at most, and an end once attacks and branching have ended by themselves.
        seed: of random starts.
        device: of bounds and of attacks; the runtime decides on the CPU.

    Raises:
        InputError: the limit of time is not positive.
    """

    method: Method
    minutes: float | None = None
    seed: int = 0
    device: torch.device | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise InputError(f"--minutes {self.minutes:g}", "a positive number", "write --minutes 5")

    def method_within(self, seconds: float) -> Method:
        """The method of proof, its branching limited to so many seconds."""
        if self.method.branching is None:
            return self.method
        parts = PARTS if self.minutes is None else None
        return replace(self.method, branching=Branching(seconds=max(seconds, 0.0), parts=parts))


@final
@dataclass(frozen=True, slots=True, eq=False)
class PropertyDecision:
    """The answer to a property of a file: whether an input of its box satisfies the negated requirement.

    Attributes:
        answer: "sat" with a counterexample, "unsat" with a proof of every clause, or "unknown".
        counterexample: an input, confirmed by onnxruntime, with its output; None where none was found.
        clauses: of the property in disjunctive form: whether each was refuted, and whether time ended it.
        compared: the runtime that bounds were compared with.
        disagreement: where the runtime left the bounds of the graph that it executes: then nothing is proved.
        method: of proof, in words.
        seconds: taken.
        sha256: of the file's bytes.
    """

    answer: Literal["sat", "unsat", "unknown"]
    counterexample: Counterexample | None
    clauses: tuple[ClauseResult, ...]
    compared: ComparedRuntime
    disagreement: Disagreement | None
    method: str
    seconds: float
    sha256: str


def decide_property(path: Path, given: Property, how: PropertySearch) -> PropertyDecision:
    """Search for a counterexample of a VNN-LIB property, then for a proof that there is none.

    Args:
        path: the ONNX file.
        given: the property, the negation of what is required of each input of its boxes.
        how: method, time and seed.

    Raises:
        InputError: the file does not load or has an operation without a bound; the property does not fit it.
    """
    began = time.monotonic()
    until = began + 60 * (how.minutes or MINUTES)
    device = how.device or torch.device("cpu")
    limit_arena()
    content = read_model(path)
    executed = executions(content, classifier=False, device=device)
    graph, program = _default(executed), executed[0].program
    check_boxes(given)
    check_fits(program, given)
    network = GraphNetwork(graph).eval().to(device)
    session = Session(content, exported=False, name=str(path))
    subject = FalsificationProblem(network, session, program.size, given)
    points = _points(program, given, how.seed).to(device)
    together = min(MOST_TOGETHER, max(1, VALUES // sum(math.prod(node.shape[1:]) for node in graph.nodes)))
    with untouched(network), device:
        apart = first_disagreement(executed, points)
        attacks = _Attacks(subject, together, how.seed, until)
        found, clauses = _searched(() if apart else executed, attacks, how, until)
    return PropertyDecision(
        answer=_answer(found, clauses),
        counterexample=found,
        clauses=clauses,
        compared=ComparedRuntime.of(executed),
        disagreement=apart,
        method=str(how.method_within(0.0)),
        seconds=time.monotonic() - began,
        sha256=sha256_bytes(content),
    )


def _searched(
    executed: Sequence[Execution], attacks: _Attacks, how: PropertySearch, until: float
) -> tuple[Counterexample | None, tuple[ClauseResult, ...]]:
    """Attack, then bound and branch with attacks between the turns, then attack while there is time.

    Without executions, of which a proof could be one, nothing is refuted.
    """
    now = time.monotonic()
    found = attacks.first(now + _ATTACK_SHARE * (until - now))
    if found is not None:
        return found, ()
    method = how.method_within(until - time.monotonic())
    given, programs = attacks.subject.given, [each.program for each in executed]
    if programs:
        said = refute_clauses(programs, given, method, until=until, probe=attacks.near)
    else:
        said = tuple(ClauseResult(False) for _ in given.clauses)
    found = attacks.found
    if found is None and how.minutes is not None and not all(answer.refuted for answer in said):
        found = attacks.go_on()
    return found, said


def _default(executed: Sequence[Execution]) -> Graph:
    """The graph that a session with default settings executes, which gives the attacks' gradients."""
    (found,) = (each.graph for each in executed if DEFAULT in each.levels)
    if found is None:
        raise TypeError("executions without their graphs")
    return found


def _points(program: Program, given: Property, seed: int) -> Tensor:
    """Points of the boxes that the property is about, of the first few where there are many."""
    ends = [box_of(clause, program.size) for clause in given.clauses[:BOXES]]
    ends = [(lower, upper) for lower, upper in ends if bool((lower <= upper).all())]
    if not ends:
        return torch.zeros(0, *program.size)
    region = Region(torch.cat([lower for lower, _ in ends]), torch.cat([upper for _, upper in ends]))
    draws = torch.Generator().manual_seed(seed)
    return torch.cat([points_of(region, draws) for _ in range(max(1, BOXES // len(ends)))])


@final
class _Attacks:
    """The attacks on one property; the first counterexample is kept."""

    def __init__(self, subject: FalsificationProblem, together: int, seed: int, until: float) -> None:
        self.subject, self._until = subject, until
        self.found: Counterexample | None = None
        self._seed, self._restarts = seed, RandomRestarts(subject, together, seed)
        self._since = time.monotonic()

    def first(self, until: float) -> Counterexample | None:
        """Search with PGD."""
        return counterexample(self.subject, seed=self._seed, until=until)

    def near(self, clause: int, point: Tensor) -> bool:
        """Replay a point of the branching, and attack its clause for as long as the branching took since."""
        now = time.monotonic()
        point = point.to(torch.float32).reshape(1, *self.subject.size)
        end = min(2 * now - self._since, self._until)
        self.found = self.subject.confirmed(point) or self._restarts.run(end, {clause: point[0]})
        self._since = time.monotonic()
        return self.found is not None

    def go_on(self) -> Counterexample | None:
        """Attack all clauses for the time that is left."""
        return self._restarts.run(self._until)


def _answer(
    found: Counterexample | None, results: tuple[ClauseResult, ...]
) -> Literal["sat", "unsat", "unknown"]:
    if found is not None:
        return "sat"
    return "unsat" if all(result.refuted for result in results) else "unknown"
