"""Verification in stages: the certificate's seal, the files' digests, the counts, the evidence, the replay.

No file is parsed before its digest agrees, and every file is read once: the hashed bytes are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from harden.certificate.canonical_json import is_rendered, parse_json, seal_of, sha256_bytes
from harden.certificate.graph_digest import graph_digest_bytes
from harden.errors import HardenError, InputError
from harden.system.atomic_files import read_bytes, refuse_pointer
from harden.system.size_limits import EVIDENCE_BYTES, JSON_BYTES, MODEL_BYTES
from harden.verifier.findings import CERTIFICATE, EVIDENCE, MODEL, CheckFinding, Verification, finding
from harden.verifier.read_evidence import check_evidence, load
from harden.verifier.recount import recount, unpack
from harden.verifier.replay import replay
from harden.verifier.schema_fields import CERTIFICATE as FIELDS

_MOST: Final = {CERTIFICATE: JSON_BYTES, MODEL: MODEL_BYTES, EVIDENCE: EVIDENCE_BYTES}


_LEAST: Final = 10
"""Fewest images; with fewer, an interval excludes guessing for hardly any accuracy."""


def verify(folder: str | Path, *, isolated: bool = True) -> Verification:
    """Re-checks an artefact: certificate.json, model.onnx and evidence.npz in a folder.

    Checks run in stages; a stage that fails is the last. Guarantee: if the result is ok, the files are those
    that were sealed, every count and interval follows from the certificate's bits, and every image counted as
    broken has a stored witness inside the threat model that changes this file's answer in this onnxruntime.

    The files may be untrusted. Nothing in them is unpickled; content that is too large is refused before it
    is unpacked; the graph runs in a process with limits of memory and time.

    Args:
        folder: where the three files are.
        isolated: whether the graph runs in a child process; False where the caller has limits already.

    Raises:
        InputError: there is no such folder, no certificate in it, or a file cannot be read.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(
            f"{place} is not a folder", "a folder that harden wrote", "pass the artefact's folder"
        )
    if not (place / CERTIFICATE).is_file():
        raise InputError(
            f"no {CERTIFICATE} in {place}", "a folder that harden wrote", "pass the artefact's folder"
        )
    checked: list[CheckFinding] = []
    large = JSON_BYTES.excess((place / CERTIFICATE).stat().st_size)
    if large:
        return Verification((CheckFinding("seal", CERTIFICATE, False, large),))
    fields, findings = _open(_read(place / CERTIFICATE))
    for stage in chain([findings], _stages(place, fields, isolated)):
        checked.extend(stage)
        if not all(found.passed for found in stage):
            return Verification(tuple(checked))
    return Verification(tuple(checked), _headline(fields["predicate"]))


def _stages(place: Path, fields: dict[str, Any], isolated: bool) -> Iterator[list[CheckFinding]]:
    """Yields the findings of one stage after another; a caller that stops at a failed one runs no more."""
    files: dict[str, bytes] = {}
    digests = {subject["name"]: subject["digest"] for subject in fields["subject"]}
    yield [_digest(place, name, digests[name]["sha256"], files) for name in (MODEL, EVIDENCE)]
    yield [_graph(files[MODEL], digests[MODEL]["graph"])]
    predicate = fields["predicate"]
    try:
        flags = unpack(predicate["bits"])
    except ValueError as error:
        yield [CheckFinding("counts", CERTIFICATE, False, str(error))]
        return
    yield recount(predicate, flags)
    try:
        evidence = load(files[EVIDENCE], predicate)
    except Exception as error:  # zipfile, zlib and numpy each raise their own on content that is not an npz
        yield [CheckFinding("arrays", EVIDENCE, False, str(error) or type(error).__name__)]
        return
    yield check_evidence(evidence, predicate, flags)
    yield replay(files[MODEL], evidence, predicate, isolated=isolated)


def _open(data: bytes) -> tuple[Any, list[CheckFinding]]:
    try:
        fields = parse_json(data)
        problem = _seal_problem(data, fields)
    except (ValueError, RecursionError) as error:
        return None, [CheckFinding("seal", CERTIFICATE, False, f"not strict JSON: {error}")]
    if problem:
        return None, [CheckFinding("seal", CERTIFICATE, False, problem)]
    seal = CheckFinding(
        "seal", CERTIFICATE, True, "unchanged since it was sealed (a seal is not a signature)"
    )
    problems = list(FIELDS(fields, "certificate"))
    if not problems:
        subjects = {subject["name"]: set(subject["digest"]) for subject in fields["subject"]}
        if subjects != {MODEL: {"sha256", "graph"}, EVIDENCE: {"sha256"}}:
            problems = [f"subject names {subjects}, expected {MODEL} (sha256, graph) and {EVIDENCE} (sha256)"]
    return fields, [
        seal,
        finding("schema", CERTIFICATE, problems, "every field is there, of its type and range"),
    ]


def _seal_problem(data: bytes, fields: Any) -> str:
    seal = fields.get("seal") if isinstance(fields, dict) else None
    if not isinstance(seal, dict) or seal.keys() != {"sha256"}:
        return "there is no seal"
    if seal["sha256"] != seal_of(fields):
        return f"the content has digest {seal_of(fields)}, the seal says {seal['sha256']}"
    if not is_rendered(fields, data):  # 1e-05 and 1E-05 are one number and two files
        return "the content agrees with its seal, but not byte for byte with the form in which it is written"
    return ""


def _digest(place: Path, name: str, expected: str, files: dict[str, bytes]) -> CheckFinding:
    if not (place / name).is_file():
        return CheckFinding("digest", name, False, "the file that the certificate is about is missing")
    files[name] = _read(place / name)
    found = sha256_bytes(files[name])
    if found != expected:
        return CheckFinding("digest", name, False, f"sha256 is {found}, the certificate says {expected}")
    return CheckFinding("digest", name, True, f"sha256 {found}")


def _graph(data: bytes, expected: str) -> CheckFinding:
    try:
        found = graph_digest_bytes(data)
    except HardenError as error:
        return CheckFinding("graph", MODEL, False, error.seen)
    if found != expected:
        return CheckFinding(
            "graph", MODEL, False, f"the graph has digest {found}, the certificate says {expected}"
        )
    return CheckFinding("graph", MODEL, True, f"graph digest {found}")


def _read(path: Path) -> bytes:
    try:
        content = read_bytes(path, _MOST[path.name])
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", "a readable file", "check its permissions"
        ) from error
    refuse_pointer(content, path)
    return content


def _headline(predicate: dict[str, Any]) -> str:
    threat, bracket = predicate["threat"], predicate["bracket"]
    if predicate["status"] != "ok":
        return "status unreliable: a trust check fired, so there is no headline number"

    def shown(proportion: dict[str, Any]) -> str:
        low, high = proportion["interval"]
        return (
            f"{proportion['value']:.4f} ({proportion['count']} of {proportion['n']}, "
            f"{100 * proportion['confidence']:g} % interval {low:.4f} to {high:.4f})"
        )

    return (
        f"{threat['norm']} {threat['eps']}: robust accuracy at most {shown(bracket['robust'])} by attack; "
        f"{_stated(predicate)}; clean accuracy {shown(predicate['clean'])}{_caution(predicate)}"
    )


def _caution(predicate: dict[str, Any]) -> str:
    """A warning for a model whose accuracy is not above its largest class's share of the images."""
    n, sizes = predicate["data"]["n"], [entry["n"] for entry in predicate["classes"]]
    if n < _LEAST or predicate["clean"]["interval"][0] > max(sizes) / n:
        return ""
    return ", which can't be distinguished from guessing: robust accuracy says nothing of such a model"


def _stated(predicate: dict[str, Any]) -> str:
    """The proofs that the certificate states, which are not repeated here."""
    if predicate["proof"] is None:
        return "nothing is proved"
    points = [(p["eps"], p["certified"]) for p in predicate["proof"]["points"]]
    shown = ", ".join(f"{share['count']} of {share['n']} at radius {eps}" for eps, share in points)
    return f"stated as proved and not proved again here: {shown}"
