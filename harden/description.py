"""Description of values as JSON, and their restoration, for certificates, checkpoints and messages."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from fractions import Fraction
from typing import Any

from harden.errors import HardenError, InputError

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

_KIND = "kind"
_OWN = re.compile(r"(harden\.[a-z][a-z0-9_]*)(?:\.[a-z][a-z0-9_]*)*:([A-Za-z_][A-Za-z0-9_]*)")
_RENAMED = {
    "harden.bounds:Climb": "harden.bounds:SlopeAscent",
    "harden.evaluation:Search": "harden.evaluation:RadiusSearch",
}
"""Names of types that earlier versions wrote, in the form of `canonical`, and the current names."""


def describe(value: object) -> JSON:
    """Give a value as JSON: frozen dataclasses by their fields and "kind", fractions as "8/255".

    A function is named "module:name", so a user's own attack is named but not stored. A type of
    harden's own is named by the package that exports it, as `harden.attacks:PGD`, wherever its file lies.
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
        return describe_fields(value)
    return _name(value)


def describe_fields(value: Any) -> dict[str, JSON]:
    """Give a frozen dataclass as JSON: its fields and "kind"; see `describe`."""
    fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {_KIND: _name(type(value)), **fields}


def restore(described: JSON) -> Any:
    """Rebuild a value of harden's own types from its description; `restore(describe(v)) == v`.

    Raises:
        InputError: it describes a type that is not harden's own, or has other fields.
    """
    if isinstance(described, list):
        return tuple(restore(part) for part in described)
    if not isinstance(described, dict):
        return described
    fields = {key: restore(part) for key, part in described.items() if key != _KIND}
    if _KIND not in described:
        return fields
    kind = described[_KIND]
    if not str(kind).startswith("harden."):
        raise InputError(f"a value of kind {kind!r}", "one of harden's own", "build it in Python and pass it")
    made = _own_type(str(kind)) or _own_type(canonical(str(kind)))
    if made is None:
        raise InputError(
            f"kind {kind!r}", "a value type of this version of harden", "use the version that wrote it"
        )
    try:
        return made(**fields)
    except HardenError as error:  # of the type itself; a text among the fields may have line ends
        parts = (" ".join(part.split()) for part in (error.seen, error.expected, error.instead))
        raise InputError(*parts) from None
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"fields {sorted(fields)} for {made.__name__}", "its own fields", reason) from None


def canonical(name: str) -> str:
    """The current name of a type or function of harden's own; other names unchanged.

    Files of earlier versions contain the module in which a type was defined then: `harden.attacks.pgd:PGD`.
    """
    own = _OWN.fullmatch(name)
    if own is None:
        return name
    short = f"{own[1]}:{own[2]}"
    return _RENAMED.get(short, short)


def canonical_names(described: JSON) -> JSON:
    """A description with every name in it as `canonical` gives it, for the comparison of two of them.

    `stop_early` of a `PGD` that keeps its last point is left out: it has no effect, and earlier versions had
    another default. So is a `cutmix` of 0, which they did not have.
    """
    if isinstance(described, str):
        return canonical(described)
    if isinstance(described, list):
        return [canonical_names(part) for part in described]
    if isinstance(described, dict):
        named = {key: canonical_names(part) for key, part in described.items()}
        if named.get(_KIND) == "harden.attacks:PGD" and named.get("keep_best") is False:
            named.pop("stop_early", None)
        if named.get(_KIND) == "harden.objectives:AdversarialTraining" and named.get("cutmix") == 0:
            named.pop("cutmix")
        return named
    return described


def _own_type(kind: str) -> type[Any] | None:
    module, _, name = kind.partition(":")
    if not re.fullmatch(r"harden(\.[a-z][a-z0-9_]*)+", module):
        return None  # harden.verifier.__main__ would run where it is imported
    try:
        made = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return made if isinstance(made, type) and dataclasses.is_dataclass(made) else None


def _name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    name = f"{kind.__module__}:{kind.__qualname__}"
    own = _OWN.fullmatch(name)
    exported = own is not None and getattr(sys.modules.get(own[1]), own[2], None) is kind
    return f"{own[1]}:{own[2]}" if own is not None and exported else name
