"""The verifier reads the schema on its own: both readings have to refuse the same certificates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harden.certificate.certificate import Certificate
from harden.verifier.schema_fields import CERTIFICATE

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.floats(-2, 2),
    st.sampled_from(["", "x", "1/10", "08", "1/0", "linf", "ok", "0" * 64, "AAAA", "\n"]),
    st.just([]),
    st.just({}),
)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, ...]] = [at] if at else []
    if isinstance(value, dict):
        for key, item in value.items():
            inner += _places(item, (*at, key))
    elif isinstance(value, list):
        for key, item in enumerate(value):
            inner += _places(item, (*at, key))
    return inner


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_the_verifier_accepts_the_schema_accepts_and_types_agree(
    artefact: Path, data: st.DataObject
) -> None:
    fields = json.loads((artefact / "certificate.json").read_bytes())
    assert not list(CERTIFICATE(fields, "certificate"))
    path = data.draw(st.sampled_from(_places(fields)))
    value = data.draw(values)
    inner = fields
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    refused = bool(list(CERTIFICATE(fields, "certificate")))
    types = _refusals(fields)
    if types:
        # "value_error" is what several fields contradict among each other: the recount's business. Names and
        # kinds of digests are compared where the digests are.
        assert refused or types <= {"value_error", "literal_error"}, (path, value, types)
    else:
        assert not refused, (path, value)


def _refusals(fields: Any) -> set[str]:
    try:
        Certificate.model_validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        return {e["type"] for e in error.errors()}
    return set()


def test_nothing_in_the_schema_is_unknown_to_the_verifier(artefact: Path) -> None:
    fields = json.loads((artefact / "certificate.json").read_bytes())
    for path in _places(fields):
        inner = fields
        for key in path[:-1]:
            inner = inner[key]
        if not isinstance(path[-1], str) or {"spec", "versions", "seeds", "digest", "arrays"} & set(
            path[:-1]
        ):
            continue
        value = inner.pop(path[-1])
        assert list(CERTIFICATE(fields, "certificate")), path
        inner[path[-1]] = value


@pytest.mark.parametrize("bad", [None, 1, "x", [], {}])
def test_no_object_at_all(bad: object) -> None:
    assert list(CERTIFICATE(bad, "certificate"))
