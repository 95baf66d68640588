"""Documents with one value replaced: where values lie, a changed copy, a certificate sealed anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harden.certificate import canonical_json

Place = tuple[Any, ...]


def places(value: Any, wanted: Callable[[Any], bool], place: Place = ()) -> Iterator[Place]:
    """Where such values are; of lists, which are long, in their first and last item."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, wanted, (*place, key))
    elif isinstance(value, list):
        for at in {0, len(value) - 1} if value else ():
            yield from places(value[at], wanted, (*place, at))
    elif wanted(value):
        yield place


def put(fields: Any, place: Place, value: object) -> Any:
    """A copy with another value at a place."""
    changed = json.loads(json.dumps(fields))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


def write_sealed(folder: Path, fields: dict[str, Any]) -> None:
    """Write a certificate whose seal fits its content."""
    fields["seal"]["sha256"] = canonical_json.seal_of(fields)
    (folder / "certificate.json").write_bytes(canonical_json.render_json(fields))
