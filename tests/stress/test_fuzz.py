"""The short form of `python -m benchmarks.stress_fuzz`, and the inputs that were a defect once."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.stress_fuzz import fuzz, session
from harden.certificate import certificate_file
from harden.data.formats.npz import load_npz
from harden.description import describe, restore
from harden.errors import InputError
from harden.threats import Linf
from harden.views import Views

CASES = 600


@pytest.mark.slow
def test_no_mutated_file_crashes_hangs_or_passes_as_good(tmp_path: Path) -> None:
    """Always the same cases; every format is met, refused and, where nothing digests it, read as another."""
    found = fuzz(list(range(CASES)), seed=1, processes=1, keep=tmp_path)
    assert [f"case {seen.number}: {seen.defect}" for seen in found if seen.defect] == []
    assert [seen.number for seen in found] == list(range(CASES))
    counts = Counter((seen.format, seen.outcome) for seen in found)
    for kind in (
        "npz",
        "certificate",
        "evidence",
        "onnx",
        "safetensors",
        "json",
        "toml",
        "property",
        "baseline",
        "image",
    ):
        assert counts[kind, "refused"] > 0, kind
    assert counts["npz", "variant"] > 0
    assert counts["onnx", "same"] > 0


@pytest.mark.slow
def test_a_session_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text(json.dumps({"first": 0, "seed": 2, "n": 1000}) + "\n")
    assert session(1010, 2, 1, out, tmp_path) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["first"], line["n"]) for line in lines] == [(0, 1000), (1000, 10)]
    assert sum(sum(kind.values()) for kind in lines[1]["counts"].values()) == 10


def npz(path: Path, **members: bytes) -> str:
    """An npz with x_train, ... of one valid kind, but for the members that are given as bytes."""
    x, y = np.zeros((2, 4, 4, 1), np.uint8), np.arange(2)
    arrays: dict[str, Any] = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", members.pop(name, content.getvalue()))
        for name, given in members.items():
            archive.writestr(f"{name}.npy", given)
    return str(path)


def npy(header: bytes, body: bytes = b"") -> bytes:
    """A member of an npz with a header of one's own."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


def described(kind: str, shape: str, order: str = "False") -> bytes:
    return f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


@pytest.mark.parametrize(
    "member",
    [
        npy(b"{'descr'\n"),  # tokenize.TokenError
        npy(described("<i8", "(2147483648, 2147483648)")),  # more than can be counted
        npy(described("<U3", "(2147483648,)")),  # 24 GB before a byte is read
        npy(described("<i8", "(True,)"), bytes(8)),
        npy(described("<i8", "(1000000000000000000000000000000,)")),
        npy(described("|O", "(1,)"), b"\x80\x04N."),
        npy(b"(" * 5000),
        b"no array at all",
    ],
    ids=["token", "overflow", "huge", "bool", "long", "object", "nested", "bytes"],
)
def test_an_array_that_is_none_is_refused_and_takes_no_memory(tmp_path: Path, member: bytes) -> None:
    with pytest.raises(InputError, match="unreadable") as caught:
        load_npz(npz(tmp_path / "data.npz", y_train=member))
    assert "\n" not in str(caught.value)


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    names = npy(described("|S2", "(2,)"), b"\xcb\x00ab")
    with pytest.raises(InputError, match="classes that are not UTF-8"):
        load_npz(npz(tmp_path / "data.npz", classes=names))


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800])
def test_text_that_is_no_unicode_is_refused(tmp_path: Path, code: int) -> None:
    """numpy makes a str of it whose first use ends in a SystemError."""
    names = npy(described("<U1", "(2,)"), b"a\x00\x00\x00" + code.to_bytes(4, "little"))
    with pytest.raises(InputError, match="text that is no Unicode"):
        load_npz(npz(tmp_path / "data.npz", classes=names))


def test_a_small_file_that_unpacks_to_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harden.data.formats.npz.UNPACKED", 10_000)
    x, y = np.zeros((200, 16, 16, 1), np.uint8), np.arange(200) % 2
    np.savez_compressed(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    monkeypatch.setattr("harden.data.formats.npz.RATIO", 2)
    with pytest.raises(InputError, match="would unpack to"):
        load_npz(str(tmp_path / "data.npz"))
    monkeypatch.setattr("harden.data.formats.npz.RATIO", 1000)
    assert len(load_npz(str(tmp_path / "data.npz")).train) == 200


@pytest.mark.parametrize("text", ['"\\ud800"', "[" * 300 + "]" * 300, "9" * 5000, "NaN", '"a'])
def test_a_certificate_that_is_no_json_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(
        '{"predicateType": "urn:harden:robustness-certificate:v1", "seal": {"sha256": ""}, "x": ' + text + "}"
    )
    with pytest.raises(InputError, match="not strict JSON") as caught:
        certificate_file.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", ["harden.verifier.__main__:x", "harden.:Linf", "harden..threats:Linf", "harden.nothing:x"]
)
def test_a_described_value_imports_value_types_alone(kind: str) -> None:
    """The verifier's __main__ would have run, with this process's arguments, where it was imported."""
    with pytest.raises(InputError, match="a value type of this version"):
        restore({"kind": kind, "eps": "1/2"})
    assert restore(describe(Linf("1/2"))) == Linf("1/2")


def test_a_described_value_with_line_ends_is_refused_in_one_line() -> None:
    fields = describe(Views())
    assert isinstance(fields, dict)
    with pytest.raises(InputError) as caught:
        restore({**fields, "blur": "x\x00\n"})
    assert "\n" not in str(caught.value)
