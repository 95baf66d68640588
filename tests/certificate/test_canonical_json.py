"""The hashed and the stored form of JSON, strict parsing and digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.certificate.canonical_json import (
    canonical_json,
    is_rendered,
    parse_json,
    render_json,
    seal_of,
    sha256_bytes,
    sha256_file,
)

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "\\ud" not in json.dumps(value))


@given(trees)
def test_both_forms_read_back_and_the_stored_one_is_stable(value: object) -> None:
    assert parse_json(canonical_json(value)) == value
    assert render_json(parse_json(render_json(value))) == render_json(value)


def test_the_canonical_form_is_that_of_the_format() -> None:
    """Written out: every certificate that was ever sealed depends on these bytes."""
    value = {"b": [1, 0.1, 1e300, True, None], "a": {"z": "é\u2028", "Z": '"\n'}}
    expected = '{"a":{"Z":"\\"\\n","z":"é\u2028"},"b":[1,0.1,1e+300,true,null]}'
    assert canonical_json(value) == expected.encode()


@given(trees, st.integers(0), st.integers(1, 255))
def test_one_changed_byte_is_not_the_stored_form(value: object, place: int, change: int) -> None:
    stored = render_json(value)
    assert is_rendered(value, stored)
    changed = bytearray(stored)
    changed[place % len(stored)] ^= change
    assert not is_rendered(value, bytes(changed))
    assert not is_rendered(value, stored + b"\n")
    assert not is_rendered(value, stored[:-1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "\ud800"], ids=["nan", "infinity", "surrogate"])
def test_values_without_a_canonical_form_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"JSON compliant|surrogates not allowed"):
        canonical_json([bad])


@pytest.mark.parametrize(
    "bad",
    [b'{"a":1,"a":1}', b"NaN", b"[-Infinity]", b"1e999", b"\xff", b"", b"{", b"[" * 100_000, b'"\\ud800"'],
)
def test_strict_json_refuses(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_json(bad)


def test_the_seal_covers_every_field_but_itself() -> None:
    fields = {"b": 1, "a": "x"}
    seal = hashlib.sha256(b'{"a":"x","b":1}').hexdigest()
    assert seal_of(fields) == seal
    assert seal_of({**fields, "seal": {"sha256": "anything"}}) == seal
    assert seal_of({**fields, "b": 2}) != seal


def test_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "x") == sha256_bytes(b"abc" * 100_000)
