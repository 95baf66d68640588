"""harden certify FILE.onnx --vnnlib SPEC: whether any input of a box breaks a property."""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch

from harden.artefact.session import Session
from harden.bounds import Branching, Method, Program
from harden.bounds.assignment import satisfied
from harden.bounds.properties import answers, check_boxes, check_fits
from harden.bounds.vnnlib import Property, parse
from harden.cli.bare import file_of
from harden.cli.console import console, write_json
from harden.cli.proving import method_named
from harden.errors import InputError
from harden.evaluation.counterexamples import Counterexample, counterexample
from harden.evaluation.proof_report import LIMITS
from harden.files import write_bytes
from harden.graph import GraphNetwork, read
from harden.models import frozen

MINUTES, METHOD = 5.0, "branch-and-bound"
_ATTACK_SHARE = 0.2
"""Of the time, at most, for looking for counterexamples before proofs are tried."""


@final
@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a file, as the options say it."""

    file: Path
    witness: Path | None
    method: str
    minutes: float
    seed: int

    @classmethod
    def of(
        cls,
        data: str,
        file: Path | None,
        witness: Path | None,
        how: tuple[str, float | None, int],
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
        method, minutes, seed = how
        if minutes is not None and not minutes > 0:
            raise InputError(f"--minutes {minutes:g}", "a positive number", "write --minutes 5")
        return cls(file, witness, method or METHOD, MINUTES if minutes is None else minutes, seed)


def decide(spec: str, question: Question, json_file: Path | None) -> int:
    """Look for a counterexample, then for a proof; the last line is sat, unsat or unknown."""
    began = time.monotonic()
    path, method = file_of(spec), method_named(question.method)
    given = parse(_text(question.file))
    graph = read(path)
    program = Program.of(graph)
    check_boxes(given)
    check_fits(program, given)
    session = Session(path, exported=False)
    network = GraphNetwork(graph).eval()
    with frozen(network):
        found = counterexample(
            network,
            session,
            program.size,
            given,
            seed=question.seed,
            until=began + _ATTACK_SHARE * 60 * question.minutes,
        )
    clauses: tuple[bool, ...] = ()
    if found is None:
        clauses, found = _proved(program, given, method, session, began + 60 * question.minutes)
    answer = _answer(found, clauses)
    written = _write_witness(found, question.witness)
    write_json(
        json_file,
        {
            "answer": answer,
            "clauses": len(given.clauses),
            "refuted": sum(clauses),
            "method": str(method),
            "seconds": time.monotonic() - began,
            "witness": None if written is None else str(written),
            "output": None if found is None else found.y.tolist(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "limits": list(LIMITS),
        },
    )
    if clauses and answer == "unknown":
        console.print(f"{sum(clauses)} of {len(clauses)} clauses refuted", soft_wrap=True)
    console.print(answer)
    return 0


def _proved(
    program: Program, given: Property, method: Method, session: Session, until: float
) -> tuple[tuple[bool, ...], Counterexample | None]:
    """Which clauses are refuted, and of the others what branching points at, if the runtime agrees."""
    if method.branching is not None:
        left = max(until - time.monotonic(), 0.0)
        method = replace(method, branching=Branching(seconds=left))
    said = answers(program, given, method, until=until)
    for answer in said:
        if answer.candidate is not None:
            x = answer.candidate.to(torch.float32).reshape(1, *program.size).numpy()
            y = session(x)
            if satisfied(given, x.flatten().tolist(), y[0].tolist()):
                return tuple(each.refuted for each in said), Counterexample(x[0], y[0])
    return tuple(answer.refuted for answer in said), None


def _answer(found: Counterexample | None, clauses: tuple[bool, ...]) -> Literal["sat", "unsat", "unknown"]:
    if found is not None:
        return "sat"
    return "unsat" if all(clauses) else "unknown"


def _write_witness(found: Counterexample | None, path: Path | None) -> Path | None:
    if found is None:
        return None
    if path is None:
        console.print("a counterexample was found; --witness FILE.npy writes it", soft_wrap=True)
        return None
    content: Any = io.BytesIO()
    np.save(content, found.x[None])  # as a batch of one, which a session takes
    write_bytes(path, content.getvalue())
    console.print(
        f"counterexample in {path}, which onnxruntime answers with {found.y.tolist()}", soft_wrap=True
    )
    return path


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise InputError(f"{path} ({reason})", "a VNN-LIB file", "name an existing file") from None
