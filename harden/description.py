"""Values as JSON and back: what stands in a certificate, a checkpoint and a message."""

from __future__ import annotations

import dataclasses
import importlib
from fractions import Fraction
from typing import Any

from harden.errors import InputError

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

_KIND = "kind"


def describe(value: object) -> JSON:
    """Give a value as JSON: frozen dataclasses by their fields and "kind", fractions as "8/255".

    A function stands as "module:name", so that a user's own attack is named though not stored.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, tuple | list):
        return [describe(part) for part in value]
    if isinstance(value, dict):
        return {str(key): describe(part) for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {_KIND: _name(type(value)), **fields}
    return _name(value)


def restore(described: JSON) -> Any:
    """Rebuild a value of harden's own types from its description; `restore(describe(v)) == v`.

    Raises:
        InputError: it describes something that is not harden's, or whose fields do not fit.
    """
    if isinstance(described, list):
        return tuple(restore(part) for part in described)
    if not isinstance(described, dict):
        return described
    fields = {key: restore(part) for key, part in described.items() if key != _KIND}
    if _KIND not in described:
        return fields
    kind = described[_KIND]
    module, _, name = str(kind).partition(":")
    if not module.startswith("harden."):
        raise InputError(f"a value of kind {kind!r}", "one of harden's own", "build it in Python and pass it")
    try:
        made = getattr(importlib.import_module(module), name, None)
    except ImportError:
        made = None
    if not (isinstance(made, type) and dataclasses.is_dataclass(made)):
        raise InputError(
            f"kind {kind!r}", "a value type of this version of harden", "use the version that wrote it"
        )
    try:
        return made(**fields)
    except (TypeError, ValueError, LookupError) as error:
        raise InputError(f"fields {sorted(fields)} for {name}", "its own fields", str(error)) from None


def _name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}:{kind.__qualname__}"
