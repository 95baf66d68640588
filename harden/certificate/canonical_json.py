"""Canonical JSON, the stored form of certificates, strict parsing and digests.

These rules are part of the format, so the verifier uses this file; it needs the standard library alone, and
this project's limits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from harden.system.nesting_limits import check_json

SEAL = "seal"


def canonical_json(value: object) -> bytes:
    """Writes a JSON value in the one form that is hashed and signed.

    Keys sorted by code point, no whitespace, UTF-8 without escapes beyond JSON's own, floats by the shortest
    decimal that reads back as the same float64.

    Raises:
        ValueError: a number is not finite, or a string is not Unicode.
        TypeError: something is not JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def render_json(value: object) -> bytes:
    """Writes a JSON value in the one form that is stored.

    Indented by two, keys in the order given, a final newline. A reader
    that parses a file and renders it again gets the same bytes, unless the file was changed.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def is_rendered(value: object, data: bytes) -> bool:
    """Return whether bytes are the output of `render_json`, in pieces, since indents may be very long."""
    encoder = json.JSONEncoder(indent=2, ensure_ascii=False, allow_nan=False)
    at = 0
    for part in encoder.iterencode(value):
        piece = part.encode("utf-8")
        if data[at : at + len(piece)] != piece:
            return False
        at += len(piece)
    return data[at:] == b"\n"


def parse_json(data: bytes) -> Any:
    """Reads JSON strictly: UTF-8, no key twice, no NaN or infinity, no number beyond float64.

    Values that can be read but not written are refused too: half of a surrogate pair, more than 64 levels.
    Levels, values and digits are counted before objects are made of them (`harden.system.nesting_limits`).

    Raises:
        ValueError: the bytes are not such JSON.
    """
    check_json(data)
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    _check_writable(value)
    return value


def _check_writable(value: Any) -> None:
    # A loop, since deep nesting would exceed the recursion limit.
    level = [value]
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                item.encode("utf-8")  # UnicodeEncodeError is a ValueError
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
        level = below


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} occurs twice")
        found[key] = value
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is beyond float64")
    return value


def seal_of(fields: Mapping[str, Any]) -> str:
    """Digests a certificate's fields: sha256 over the canonical JSON of all of them but the seal."""
    return sha256_bytes(canonical_json({key: value for key, value in fields.items() if key != SEAL}))


def sha256_bytes(data: bytes) -> str:
    """Digests bytes, in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Digests a file's bytes, in lower-case hex, without holding them all in memory.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
