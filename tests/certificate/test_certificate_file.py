from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harden.certificate import certificate_file
from harden.certificate import schema as s
from harden.certificate.canonical_json import (
    canonical_json,
    parse_json,
    render_json,
    seal_of,
    sha256_bytes,
    sha256_file,
)
from harden.certificate.certificate import Certificate
from harden.errors import BrokenClaimError, HardenError, InputError

Make = Callable[..., Certificate]
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: "\\ud" not in json.dumps(value))


@given(trees)
def test_both_forms_read_back_and_the_stored_one_is_stable(value: object) -> None:
    assert parse_json(canonical_json(value)) == value
    assert render_json(parse_json(render_json(value))) == render_json(value)


@pytest.mark.parametrize(
    "bad", [b'{"a":1,"a":1}', b"NaN", b"[-Infinity]", b"1e999", b"\xff", b"", b"{", b"[" * 100_000]
)
def test_strict_json_refuses(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_json(bad)


def test_written_and_read_back(certificate: Certificate, tmp_path: Path) -> None:
    certificate_file.write(certificate, tmp_path)
    assert os.listdir(tmp_path) == ["certificate.json"]
    assert certificate_file.read(tmp_path) == certificate
    assert certificate_file.read(tmp_path / "certificate.json") == certificate
    fields = json.loads((tmp_path / "certificate.json").read_bytes())
    assert fields["_type"] == "https://in-toto.io/Statement/v1"
    assert fields["seal"]["sha256"] == seal_of(fields)


def test_a_failed_write_leaves_the_old_file(
    certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate_file.write(certificate, tmp_path)
    before = sha256_file(tmp_path / "certificate.json")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        certificate_file.write(certificate, tmp_path)
    assert os.listdir(tmp_path) == ["certificate.json"]
    assert sha256_file(tmp_path / "certificate.json") == before


def _refused(path: Path) -> HardenError:
    with pytest.raises(HardenError) as caught:
        certificate_file.read(path)
    assert caught.value.seen
    assert caught.value.expected
    assert caught.value.instead
    return caught.value


def test_missing_cut_edited_and_other_files_are_refused(certificate: Certificate, tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    assert isinstance(_refused(path), InputError)
    whole = certificate_file.to_bytes(certificate)
    for bad in (b"", whole[:-5], whole[: len(whole) // 2], b"[]", b"{}", b'{"_type": "other"}', b"\x00\xff"):
        path.write_bytes(bad)
        assert isinstance(_refused(path), InputError)
    path.write_bytes(whole.replace(b'"count": 316', b'"count": 317'))
    assert isinstance(_refused(path), BrokenClaimError)
    fields = json.loads(whole)
    fields["predicate"]["data"]["n"] = "450"
    fields["seal"]["sha256"] = seal_of(fields)
    path.write_bytes(render_json(fields))
    assert "predicate.data.n" in str(_refused(path))


def test_issue_needs_both_files(certificate: Certificate, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no model\.onnx"):
        certificate_file.issue(tmp_path, certificate.predicate)
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    (tmp_path / "evidence.npz").write_bytes(b"")
    with pytest.raises(InputError, match="does not parse"):
        certificate_file.issue(tmp_path, certificate.predicate)


def test_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "x") == sha256_bytes(b"abc" * 100_000)


def test_summary_says_every_number_with_n_and_interval(
    certificate: Certificate, make_certificate: Make
) -> None:
    text = str(certificate)
    assert "0.0 % (0 of 450; 95 % interval 0.0 to 0.9 %)  certified accuracy, no proof was attempted" in text
    assert "70.2 % (316 of 450; 95 % interval 65.7 to 74.5 %)  robust accuracy, by attack" in text
    assert "compared with: user's CNN" in text
    assert text.isprintable() or "\n" in text
    unreliable = str(make_certificate(status="unreliable"))
    assert "UNRELIABLE" in unreliable
    assert "expected no more than 0.1; Look for a gradient that is masked." in unreliable
    assert "next, once the cause is mended: harden evaluate FOLDER --data DATA" in unreliable
    assert "at most" not in unreliable


def test_the_schema_refuses_what_contradicts_itself(certificate: Certificate) -> None:
    p = certificate.predicate
    good = p.bracket.robust.model_dump()
    for change in (
        {"count": 317},
        {"value": 0.5},
        {"n": 10},
        {"interval": (0.8, 0.9)},
        {"count": -1},
        {"extra": 1},
    ):
        with pytest.raises(ValidationError):
            s.ProportionRecord.model_validate({**good, **change})
    for eps in ("0.1", "08/255", "8/0", "-1/10", "8 / 255", "٣/10", ""):
        with pytest.raises(ValidationError):
            s.ThreatRecord(norm="linf", eps=eps)
    with pytest.raises(ValidationError):
        s.ThreatRecord(norm="linf", eps="0")
    with pytest.raises(ValidationError, match="status"):
        s.Predicate.model_validate({**p.model_dump(), "status": "unreliable"})
    with pytest.raises(ValidationError, match="nested"):
        s.Bits(n=8, clean_correct="f0", robust_correct="0f", certified="00")
    with pytest.raises(ValidationError, match="beyond"):
        s.Bits(n=4, clean_correct="ff", robust_correct="f0", certified="00")
    with pytest.raises(ValidationError, match="method"):
        s.Bracket(certified=p.bracket.robust, robust=p.bracket.robust)
    with pytest.raises(ValidationError):
        p.bracket.method = "x"
