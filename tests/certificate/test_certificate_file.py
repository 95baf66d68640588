"""Writing, reading, issuing and refusing certificate.json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harden.certificate import certificate_file
from harden.certificate.canonical_json import (
    render_json,
    seal_of,
    sha256_file,
)
from harden.certificate.certificate import Certificate
from harden.errors import BrokenClaimError, HardenError, InputError

Make = Callable[..., Certificate]


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
