"""harden certify FILE.onnx --vnnlib SPEC: whether any input of a box breaks a property."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
import torch
from torch import Tensor

from harden.artefact.runtime.executed_programs import executions
from harden.artefact.runtime.session import Session, read_model
from harden.artefact.runtime.session_memory import limit_arena
from harden.bounds import Branching, Method, Program
from harden.bounds.region import Region
from harden.bounds.vnnlib.parse import Property, parse
from harden.bounds.vnnlib.refute import Answer, answers, box_of, check_boxes, check_fits
from harden.certificate.canonical_json import sha256_bytes
from harden.certificate.optimisation_levels import DEFAULT
from harden.cli.output.console import say, write_json
from harden.deployed.onnx_classifier import file_of
from harden.errors import InputError
from harden.evaluation.proofs.counterexamples import counterexample
from harden.evaluation.proofs.methods import method_named
from harden.evaluation.proofs.proof_report import LIMITS
from harden.evaluation.proofs.random_restarts import Counterexample, FalsificationProblem, RandomRestarts
from harden.evaluation.proofs.runtime_agreement import (
    ComparedRuntime,
    Execution,
    first_disagreement,
    points_of,
)
from harden.graph import Graph, GraphNetwork
from harden.models import untouched
from harden.models.devices import check_device
from harden.system.atomic_files import read_bytes, refuse_pointer, write_named
from harden.system.size_limits import PROPERTY_BYTES

MINUTES, METHOD = 5.0, "branch-and-bound"
PARTS = 2**16
"""Into how many parts a clause is cut at most where no time was given."""
BOXES: Final = 16
"""In which the runtime is compared with bounds: the first ones, or so many times over."""
VALUES, MOST_TOGETHER = 2**22, 256
"""So many values of the network, and so many inputs, are attacked at a time at most."""
_ATTACK_SHARE = 0.2
"""Of the time, at most, for looking for counterexamples before proofs are tried."""


@final
@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a file, as the options say it.

    Attributes:
        file: the property.
        witness: where a counterexample is written.
        method: of proof, by name.
        minutes: as they were given: attacks and branching then go on until the answer is known or they are
            over. None: MINUTES at most, and an end once attacks and branching have done what they do.
        seed: of random starts.
        device: of bounds and of attacks; the runtime decides on the CPU.
    """

    file: Path
    witness: Path | None
    method: str
    minutes: float | None
    seed: int
    device: str = "cpu"

    @classmethod
    def of(
        cls,
        data: str,
        file: Path | None,
        witness: Path | None,
        how: tuple[str, float | None, int, str],
    ) -> Question | None:
        """The question of --vnnlib; None where --data is asked for.

        Raises:
            InputError: it is not one of both, --witness is given for data, or no time is.
        """
        if bool(data) == (file is not None):
            raise InputError(
                "both --data and --vnnlib" if data else "neither --data nor --vnnlib",
                "one of them",
                "write --data npz:FILE for images, or --vnnlib FILE for a property",
            )
        if file is None:
            if witness is not None:
                raise InputError("--witness for images", "a --vnnlib property", "write --json for images")
            return None
        method, minutes, seed, device = how
        if minutes is not None and not 0 < minutes < math.inf:
            raise InputError(f"--minutes {minutes:g}", "a positive number", "write --minutes 5")
        return cls(file, witness, method or METHOD, minutes, seed, device)

    def found_how(self, left: float) -> Method:
        """The method of proof with so many seconds."""
        method = method_named(self.method)
        if method.branching is None:
            return method
        parts = PARTS if self.minutes is None else None
        return replace(method, branching=Branching(seconds=max(left, 0.0), parts=parts))


def decide(spec: str, question: Question, json_file: Path | None) -> int:
    """Look for a counterexample, then for a proof; the last line is sat, unsat or unknown."""
    began = time.monotonic()
    until = began + 60 * (question.minutes or MINUTES)
    path, method = file_of(spec), str(question.found_how(0.0))
    device = check_device(question.device)
    given = parse(_text(question.file))
    limit_arena()
    content = read_model(path)
    executed = executions(content, classifier=False, device=device)
    graph, program = _default(executed), executed[0].program
    check_boxes(given)
    check_fits(program, given)
    network = GraphNetwork(graph).eval().to(device)
    subject = FalsificationProblem(
        network, Session(content, exported=False, name=str(path)), program.size, given
    )
    points = _points(program, given, question.seed).to(device)
    together = min(MOST_TOGETHER, max(1, VALUES // sum(math.prod(node.shape[1:]) for node in graph.nodes)))
    with untouched(network), device:
        apart = first_disagreement(executed, points)
        attacks = _Attacks(subject, together, question.seed, until)
        found, said = _searched(() if apart else executed, attacks, question, until)
    answer = _answer(found, said)
    written = _write_witness(found, question.witness)
    write_json(
        json_file,
        {
            "answer": answer,
            "clauses": len(given.clauses),
            "refuted": sum(each.refuted for each in said),
            "complete": answer != "unknown" or not any(each.stopped for each in said),
            "compared": asdict(ComparedRuntime.of(executed)),
            "disagreement": None if apart is None else str(apart),
            "method": method,
            "seconds": time.monotonic() - began,
            "witness": None if written is None else str(written),
            "output": None if found is None else found.y.tolist(),
            "sha256": sha256_bytes(content),
            "limits": list(LIMITS),
        },
    )
    if apart is not None:
        say(f"nothing is proved: {apart}")
    elif answer == "unknown":
        say(_open(said))
    say(answer)
    return 0


def _searched(
    executed: Sequence[Execution], attacks: _Attacks, question: Question, until: float
) -> tuple[Counterexample | None, tuple[Answer, ...]]:
    """Attacks, then bounds and branching with attacks between its turns, then attacks while there is time.

    Without executions, of which a proof could be one, nothing is refuted.
    """
    now = time.monotonic()
    found = attacks.first(now + _ATTACK_SHARE * (until - now))
    if found is not None:
        return found, ()
    method = question.found_how(until - time.monotonic())
    given, programs = attacks.subject.given, [each.program for each in executed]
    if programs:
        said = answers(programs, given, method, until=until, probe=attacks.near)
    else:
        said = tuple(Answer(False) for _ in given.clauses)
    found = attacks.found
    if found is None and question.minutes is not None and not all(answer.refuted for answer in said):
        found = attacks.go_on()
    return found, said


def _default(executed: Sequence[Execution]) -> Graph:
    """What a session with default settings executes: whose gradients attacks follow."""
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
    """Everything that looks for a counterexample of one property; the first that is found is kept."""

    def __init__(self, subject: FalsificationProblem, together: int, seed: int, until: float) -> None:
        self.subject, self._until = subject, until
        self.found: Counterexample | None = None
        self._seed, self._restarts = seed, RandomRestarts(subject, together, seed)
        self._since = time.monotonic()

    def first(self, until: float) -> Counterexample | None:
        """What PGD finds."""
        return counterexample(self.subject, seed=self._seed, until=until)

    def near(self, clause: int, point: Tensor) -> bool:
        """Replay a point that branching gives, and attack its clause for as long as branching took since."""
        now = time.monotonic()
        point = point.to(torch.float32).reshape(1, *self.subject.size)
        end = min(2 * now - self._since, self._until)
        self.found = self.subject.confirmed(point) or self._restarts.run(end, {clause: point[0]})
        self._since = time.monotonic()
        return self.found is not None

    def go_on(self) -> Counterexample | None:
        """Attack all clauses for the time that is left."""
        return self._restarts.run(self._until)


def _open(said: tuple[Answer, ...]) -> str:
    refuted = f"{sum(each.refuted for each in said)} of {len(said)} clauses refuted"
    return f"{refuted}; time was up" if any(each.stopped for each in said) else refuted


def _answer(found: Counterexample | None, said: tuple[Answer, ...]) -> Literal["sat", "unsat", "unknown"]:
    if found is not None:
        return "sat"
    return "unsat" if all(answer.refuted for answer in said) else "unknown"


def _write_witness(found: Counterexample | None, path: Path | None) -> Path | None:
    if found is None:
        return None
    if path is None:
        say("a counterexample was found; --witness FILE.npy writes it")
        return None
    buffer: Any = io.BytesIO()
    np.save(buffer, found.x[None])  # as a batch of one, which a session takes
    write_named(path, buffer.getvalue())
    say(f"counterexample in {path}, which onnxruntime answers with {found.y.tolist()}")
    return path


def _text(path: Path) -> str:
    try:
        content = read_bytes(path, PROPERTY_BYTES)
        refuse_pointer(content, path)
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise InputError(f"{path} ({reason})", "a VNN-LIB file", "name an existing file") from None
