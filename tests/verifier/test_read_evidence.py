"""The arrays of evidence.npz: those that are listed, in their types and shapes, and not too large."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harden.verifier import read_evidence
from harden.verifier.read_evidence import load
from tests.verifier.artefacts import Forge, broken

IMAGE = (1, 2, 2)


def arrays(count: int = 3) -> dict[str, Any]:
    image = np.zeros((count, *IMAGE), np.float32)
    return {
        "index": np.arange(count),
        "label": np.zeros(count, np.int64),
        "original": image,
        "witness": image,
    }


def predicate(count: int = 3) -> dict[str, Any]:
    listed = {
        name: {"dtype": str(each.dtype), "shape": list(each.shape)} for name, each in arrays(count).items()
    }
    return {"evidence": {"witnesses": count, "arrays": listed}, "data": {"image_shape": list(IMAGE)}}


def packed(**given: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **given)
    return stream.getvalue()


@pytest.mark.parametrize("count", [0, 3])
def test_listed_arrays_are_read_as_they_are(count: int) -> None:
    given = arrays(count)
    found = load(packed(**given), predicate(count))
    for name, each in given.items():
        assert np.array_equal(getattr(found, name), each)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": np.zeros(3, np.int32)}, "label is int32"),
        ({"label": np.zeros(3, np.uint64)}, "label is uint64"),
        ({"index": np.arange(4)}, r"index is int64 \(4,\)"),
        ({"index": np.arange(3000)}, "index.npy holds 24128 bytes, expected 24"),
        ({"witness": np.zeros((3, 2, 1, 2), np.float32)}, r"witness is float32 \(3, 2, 1, 2\)"),
        ({"more": np.zeros(3)}, "expected the arrays"),
    ],
)
def test_other_arrays_than_the_listed_ones(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load(packed(**(arrays() | change)), predicate())


def test_a_list_that_is_not_that_of_evidence() -> None:
    listed = predicate()
    listed["evidence"]["arrays"]["witness"]["dtype"] = "float64"
    with pytest.raises(ValueError, match="the certificate lists"):
        load(packed(**arrays()), listed)
    with pytest.raises(ValueError, match="expected the arrays"):
        load(packed(index=np.arange(3)), predicate())


def test_pickled_objects_are_not_loaded() -> None:
    """An array of objects would run code: its size alone is another than the listed one."""
    given = arrays() | {"label": np.array([print, print, print], object)}
    with pytest.raises(ValueError, match=r"label\.npy holds|allow_pickle"):
        load(packed(**given), predicate())


def _evidence(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with np.load(folder / "evidence.npz") as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(folder / "evidence.npz", **arrays)


def test_arrays_of_the_other_byte_order_are_not_those_that_are_listed(artefact: Path, forge: Forge) -> None:
    def turn(arrays: dict[str, Any]) -> None:
        arrays["witness"] = arrays["witness"].astype(">f4")

    _evidence(artefact, turn)
    forge(artefact, lambda fields: None)
    ((name, file, detail),) = broken(artefact)
    assert (name, file) == ("arrays", "evidence.npz")
    assert ">f4" in detail


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(
    artefact: Path, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_evidence, "_UNPACKED", 1000)
    monkeypatch.setattr(read_evidence, "_RATIO", 2)
    with np.load(artefact / "evidence.npz") as file:
        arrays = {name: file[name] * 0 for name in file.files}
    np.savez_compressed(artefact / "evidence.npz", **arrays)
    forge(artefact, lambda fields: None)
    ((name, _, detail),) = broken(artefact)
    assert name == "arrays"
    assert "would unpack to" in detail


def test_a_header_that_promises_more_than_the_file_holds_takes_no_memory(
    artefact: Path, forge: Forge
) -> None:
    """10^15 witnesses, consistently: the member that should hold them is compared before it is read."""

    def edit(fields: dict[str, Any]) -> None:
        stored, shape = fields["predicate"]["evidence"], fields["predicate"]["data"]["image_shape"]
        stored["witnesses"] = 10**15
        for name, array in stored["arrays"].items():
            array["shape"] = [10**15, *(shape if name in ("original", "witness") else [])]

    content = io.BytesIO()
    with zipfile.ZipFile(artefact / "evidence.npz") as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            count = member[10:128].split(b"(")[1].split(b",")[0]
            new.writestr(name, member.replace(b"(" + count, b"(" + str(10**15).encode(), 1))
    (artefact / "evidence.npz").write_bytes(content.getvalue())
    forge(artefact, edit)
    found = broken(artefact)
    assert ("arrays", "evidence.npz") in [(name, file) for name, file, _ in found] or found[0][0] == "counts"


def test_an_image_too_large_to_be_made_is_refused(artefact: Path, forge: Forge) -> None:
    def edit(fields: dict[str, Any]) -> None:
        data = fields["predicate"]["data"]
        data["image_shape"] = [3, 100_000, 100_000]
        arrays = fields["predicate"]["evidence"]["arrays"]
        for name in ("original", "witness"):
            arrays[name]["shape"][1:] = data["image_shape"]

    forge(artefact, edit)
    ((name, file, detail),) = broken(artefact)
    assert (name, file) == ("arrays", "evidence.npz")
    assert "images (3, 100000, 100000)" in detail
