"""`harden certify FILE.onnx --vnnlib SPEC`: the decision of a property, printed and written."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harden.bounds.vnnlib.parse import parse
from harden.cli.options.certify_options import CertifyOptions
from harden.cli.output.console import say, write_json
from harden.deployed.decide_property import PropertyDecision, PropertySearch, decide_property
from harden.deployed.onnx_classifier import file_of
from harden.errors import InputError
from harden.evaluation.proofs.methods import method_named
from harden.evaluation.proofs.proof_report import LIMITS
from harden.evaluation.proofs.random_restarts import Counterexample
from harden.models.devices import check_device
from harden.system.atomic_files import read_bytes, refuse_pointer, write_named
from harden.system.size_limits import PROPERTY_BYTES

METHOD = "branch-and-bound"


def certify_property(options: CertifyOptions, property_file: Path) -> int:
    """Decide a property of a file; the last line is sat, unsat or unknown."""
    method = method_named(options.method or METHOD)
    device = check_device(options.device)
    how = PropertySearch(method, options.minutes, options.seed, device)
    path = file_of(options.spec)
    given = parse(_text(property_file))
    decision = decide_property(path, given, how)
    written = _write_witness(decision.counterexample, options.witness)
    write_json(options.json_file, {"clauses": len(given.clauses), **_as_json(decision, written)})
    if decision.disagreement is not None:
        say(f"nothing is proved: {decision.disagreement}")
    elif decision.answer == "unknown":
        refuted = sum(each.refuted for each in decision.clauses)
        said = f"{refuted} of {len(decision.clauses)} clauses refuted"
        say(f"{said}; time was up" if any(each.stopped for each in decision.clauses) else said)
    say(decision.answer)
    return 0


def _as_json(decision: PropertyDecision, witness: Path | None) -> dict[str, Any]:
    found, clauses = decision.counterexample, decision.clauses
    return {
        "answer": decision.answer,
        "refuted": sum(each.refuted for each in clauses),
        "complete": decision.answer != "unknown" or not any(each.stopped for each in clauses),
        "compared": asdict(decision.compared),
        "disagreement": None if decision.disagreement is None else str(decision.disagreement),
        "method": decision.method,
        "seconds": decision.seconds,
        "witness": None if witness is None else str(witness),
        "output": None if found is None else found.y.tolist(),
        "sha256": decision.sha256,
        "limits": list(LIMITS),
    }


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
