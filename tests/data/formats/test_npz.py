"""npz files: what is read, and damaged or unsuitable ones, which are refused without unpickling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harden.data import Examples, load
from harden.errors import InputError

Arrays = dict[str, NDArray[Any]]


def write(folder: Path, arrays: Arrays) -> str:
    np.savez(folder / "set.npz", **arrays)  # type: ignore[arg-type]
    return f"npz:{folder / 'set.npz'}"


def test_npz(tmp_path: Path, arrays: Arrays) -> None:
    splits = load(write(tmp_path, arrays))
    assert splits.name == "set"
    assert splits.train.classes == ("0", "1", "2")
    assert torch.equal(splits.train.x, torch.from_numpy(arrays["x_train"].transpose(0, 3, 1, 2).copy()))
    assert splits.test.y.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", ">f4", ">u2"])
def test_npz_of_each_type_grey_and_with_names(tmp_path: Path, arrays: Arrays, kind: str) -> None:
    for key in ("x_train", "x_test"):
        grey = arrays[key][..., 0]
        arrays[key] = (grey / 255).astype(kind) if "f" in kind else grey.astype(kind)
    arrays |= {"classes": np.array(["cat", "dog", "ant"]), "y_train": arrays["y_train"][:, None]}
    splits = load(write(tmp_path, arrays))
    assert splits.train.image_shape == (1, 6, 5)
    assert splits.train.classes == ("cat", "dog", "ant")
    scale = {"uint16": 65535, ">u2": 65535}.get(kind, 255)
    expected = (
        torch.arange(256)[
            torch.from_numpy(
                np.load(tmp_path / "set.npz")["x_train"].astype("f8") * (255 if "f" in kind else 1)
            )
            .round()
            .long()
        ]
        / scale
    )
    assert torch.allclose(splits.train.batch(torch.arange(12)).x[:, 0], expected.float(), atol=1e-6)


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.97])
def test_a_truncated_npz_is_an_input_error(tmp_path: Path, arrays: Arrays, keep: float) -> None:
    spec = write(tmp_path, arrays)
    cut(tmp_path / "set.npz", keep)
    with pytest.raises(InputError, match="unreadable"):
        load(spec)


def test_a_damaged_npz_is_an_input_error_or_reads_the_same(tmp_path: Path, arrays: Arrays) -> None:
    spec = write(tmp_path, arrays)
    content = (tmp_path / "set.npz").read_bytes()
    digest = load(spec).train.digest(), load(spec).test.digest()
    random = np.random.default_rng(0)
    refused = 0
    for position in random.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        (tmp_path / "set.npz").write_bytes(damaged)
        try:
            splits = load(spec)
        except InputError:
            refused += 1
        else:
            assert (splits.train.digest(), splits.test.digest()) == digest
    assert refused > 100


def test_npz_never_unpickles(tmp_path: Path, arrays: Arrays) -> None:
    arrays["y_test"] = np.array([{"a": 1}] * 6, dtype=object)
    with pytest.raises(InputError, match="unreadable"):
        load(write(tmp_path, arrays))


def nhwc_to_nchw(arrays: Arrays) -> Arrays:
    return arrays | {"x_train": arrays["x_train"].transpose(0, 3, 1, 2)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: {k: v for k, v in a.items() if k != "y_test"}, "y_test missing; it holds x_train"),
        (lambda a: a | {"x_train": a["x_train"].astype("f4")}, "x_train|train.*divide by 255"),
        (lambda a: a | {"x_train": a["x_train"] / 255}, "float64.*astype"),
        (lambda a: a | {"x_train": a["x_train"].astype("i8")}, "int64.*uint8"),
        (nhwc_to_nchw, r"transpose\(0, 2, 3, 1\)"),
        (lambda a: a | {"x_train": a["x_train"].reshape(12, -1)}, "stack images"),
        (lambda a: a | {"x_test": a["x_test"][:, :5]}, "one size"),
        (lambda a: a | {"y_train": a["y_train"][:5]}, "12 images and 5 labels"),
        (lambda a: a | {"y_train": a["y_train"].astype("f4")}, "integer class numbers"),
        (lambda a: a | {"x_test": a["x_test"][:0], "y_test": a["y_test"][:0]}, "no pixels"),
        (lambda a: a | {"classes": np.array(["one", "two"])}, "label of 2 with 2 classes"),
        (lambda a: a | {"classes": np.arange(3)}, "a list of names"),
    ],
)
def test_npz_with_wrong_content(tmp_path: Path, arrays: Arrays, change: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(write(tmp_path, change(arrays)))


def test_npz_that_is_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load(f"npz:{tmp_path / 'absent.npz'}")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match="unreadable"):
        load(f"npz:{tmp_path / 'one.npy'}")


def test_loaded_sets_are_examples(tmp_path: Path, arrays: Arrays) -> None:
    assert isinstance(load(write(tmp_path, arrays)).train, Examples)


@pytest.mark.parametrize("path", ["pipe", "/dev/zero"])
def test_an_npz_is_a_regular_file(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(InputError, match="no regular file"):
        load(f"npz:{path}")
