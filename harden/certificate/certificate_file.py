"""Issuing, sealing, writing and reading certificate.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harden.certificate.canonical_json import parse_json, render_json, seal_of, sha256_bytes, sha256_file
from harden.certificate.certificate import Certificate
from harden.certificate.graph_digest import graph_digest_bytes
from harden.certificate.schema import (
    EVIDENCE_FILE,
    MODEL_FILE,
    PREDICATE_TYPE,
    Predicate,
    Seal,
    Statement,
    Subject,
)
from harden.errors import BrokenClaimError, InputError
from harden.system.atomic_files import read_bytes, refuse_pointer, write_bytes
from harden.system.size_limits import JSON_BYTES, MODEL_BYTES

CERTIFICATE_FILE = "certificate.json"
_ADVICE = "pass the folder that harden wrote, or write the certificate again"


def issue(folder: str | Path, predicate: Predicate) -> Certificate:
    """Binds a predicate to the model.onnx and evidence.npz in a folder, and seals it; writes nothing.

    Raises:
        InputError: one of the two files is missing, or the graph contains parts that the digest does not
            cover.
    """
    model, evidence = Path(folder) / MODEL_FILE, Path(folder) / EVIDENCE_FILE
    for path in (model, evidence):
        if not path.is_file():
            raise InputError(
                f"no {path.name} in {folder}", "the file that the claim is about", "export it first"
            )
    content = read_bytes(model, MODEL_BYTES)
    subjects = (
        Subject(
            name=MODEL_FILE, digest={"sha256": sha256_bytes(content), "graph": graph_digest_bytes(content)}
        ),
        Subject(name=EVIDENCE_FILE, digest={"sha256": sha256_file(evidence)}),
    )
    return seal(Statement(subject=subjects, predicate=predicate))


def seal(statement: Statement) -> Certificate:
    """Seals a statement: seal.sha256 = sha256(canonical JSON of the statement's fields)."""
    fields = statement.model_dump(mode="json", by_alias=True, exclude={"seal"})
    return Certificate(
        subject=statement.subject, predicate=statement.predicate, seal=Seal(sha256=seal_of(fields))
    )


def to_bytes(certificate: Certificate) -> bytes:
    """The bytes of certificate.json: indented JSON, fields in the schema's order."""
    return render_json(certificate.model_dump(mode="json", by_alias=True))


def write(certificate: Certificate, path: str | Path) -> None:
    """Writes certificate.json atomically: a temporary file, flushed to disk, then renamed.

    Args:
        certificate: to write.
        path: the file, or the folder in which it is called certificate.json.

    Raises:
        OSError: the folder cannot be written.
    """
    write_bytes(_file(path), to_bytes(certificate))


def read(path: str | Path) -> Certificate:
    """Reads a certificate and checks its seal; `harden verify` checks the claims.

    Args:
        path: the file, or the folder in which it is called certificate.json.

    Raises:
        InputError: there is no such file, or it is not a certificate of this schema.
        BrokenClaimError: the content differs from its seal.
    """
    target = _file(path)
    if target.suffix == ".onnx":
        raise InputError(
            f"{target}, an ONNX file", "an artefact's folder", "pass the folder that harden wrote it to"
        )
    try:
        data = read_bytes(target, JSON_BYTES)
    except OSError as error:
        raise InputError(f"{target} cannot be read ({error.strerror})", "a certificate", _ADVICE) from error
    refuse_pointer(data, target)
    try:
        fields = parse_json(data)
    except ValueError as error:
        reason = " ".join(str(error).split())[:300]  # it may quote the file, with line ends
        raise InputError(f"{target} is not strict JSON ({reason})", "a whole certificate", _ADVICE) from error
    if not isinstance(fields, dict):
        raise InputError(f"{target} holds {type(fields).__name__}", "a JSON object", _ADVICE)
    _check_type(target, fields)
    recorded = fields.get("seal")
    if fields.get("predicateType") == PREDICATE_TYPE and isinstance(recorded, dict):
        _check_seal(target, recorded.get("sha256"), seal_of(fields))
    try:
        # From text, not from the parsed value: strict mode reads a JSON list as a tuple only there.
        return Certificate.model_validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        seen = " ".join(f"{target} is not this schema at {where} ({first['msg']})".split())[:400]
        raise InputError(seen, "a certificate of harden's schema v1", _ADVICE) from error


def _check_type(target: Path, fields: dict[str, Any]) -> None:
    found = fields.get("predicateType")
    if not isinstance(found, str) or found == PREDICATE_TYPE:
        return
    ours = found.startswith(PREDICATE_TYPE.rstrip("0123456789"))
    instead = "update harden, which reads the certificates of its own version" if ours else _ADVICE
    raise InputError(f"{target} of the type {found[:80]!r}", PREDICATE_TYPE, instead)


def _check_seal(target: Path, recorded: object, found: str) -> None:
    if recorded != found:
        raise BrokenClaimError(
            f"{target} has changed since it was sealed: its content has digest {found}",
            f"the digest in its seal, {recorded}",
            "get the file from its issuer again, or issue it again",
        )


def _file(path: str | Path) -> Path:
    target = Path(path)
    return target / CERTIFICATE_FILE if target.is_dir() else target
