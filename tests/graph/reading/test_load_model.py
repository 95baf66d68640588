"""Loading of models: from bytes, paths and messages; tensors in other files only of the model's folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from harden.errors import InputError
from harden.graph import read
from harden.graph.reading.load_model import load_model, numbers, one_line
from tests.graph.graphs import constant, normal, one, refusal


def first(file: onnx.ModelProto) -> TensorProto:
    """Its first initialiser."""
    found: TensorProto = file.graph.initializer[0]
    return found


def test_data_in_another_file_are_put_inside(tmp_path: Path) -> None:
    file = one("Add", ("n", 16), normal(16))
    onnx.save(file, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    found = load_model(tmp_path / "m.onnx")
    assert np.array_equal(numbers(found.graph.initializer[0]), normal(16))
    assert not found.graph.initializer[0].external_data


def test_more_data_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    """One small file that many tensors name would cost their sum."""
    file = one("Add", ("n", 16), normal(16))
    onnx.save(file, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    stored = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    for at in range(299):
        stored.graph.initializer.add().CopyFrom(stored.graph.initializer[0])
        stored.graph.initializer[-1].name = f"more{at}"
    (tmp_path / "m.onnx").write_bytes(stored.SerializeToString())
    assert "300 tensors of more than 4,800 bytes in files of 64" in refusal(tmp_path / "m.onnx")
    first(stored).dims[0] = 2
    (tmp_path / "m.onnx").write_bytes(stored.SerializeToString())
    assert "with 64 bytes of 'm.data'; expected at most 32" in refusal(tmp_path / "m.onnx")


def test_numbers_are_as_many_as_the_shape_says() -> None:
    tensor = constant("w", normal(2, 3))
    assert np.array_equal(numbers(tensor), normal(2, 3))
    tensor.dims[0] = 3
    with pytest.raises(InputError, match=r"the tensor 'w' that can't be read"):
        numbers(tensor)


def test_a_stranger_s_words_are_one_printable_line() -> None:
    assert one_line("a\nb\x1b[31m\t\u2028 c  ") == "a b [31m c"


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "missing.onnx")
    (tmp_path / "empty.onnx").touch()
    assert "without a graph" in refusal(tmp_path / "empty.onnx")
    (tmp_path / "torn.onnx").write_bytes(one("Relu", ("n", 4)).SerializeToString()[:-20])
    assert "onnx" in refusal(tmp_path / "torn.onnx").lower()
    assert "onnx" in refusal(b"not a model at all, but some text").lower()


@pytest.mark.parametrize("place", ["/etc/hostname", "../secret", "missing.data", "link.data"])
def test_data_elsewhere(tmp_path: Path, place: str) -> None:
    path = tmp_path / "sub" / "m.onnx"
    path.parent.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    (path.parent / "link.data").symlink_to(tmp_path / "secret")
    file = one("Add", ("n", 16), normal(16))
    onnx.save(file, path, save_as_external_data=True, location="m.data", size_threshold=0)
    stored = onnx.load(path, load_external_data=False)
    for entry in stored.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = place
    path.write_bytes(stored.SerializeToString())
    assert place in refusal(path)
    assert "in another file" in refusal(path.read_bytes())


def test_a_path_that_can_be_none(tmp_path: Path) -> None:
    assert "cannot be read" in refusal("a\0b")
    assert "cannot be read" in refusal(tmp_path)
    assert "cannot be read" in refusal("x" * 5000)


def test_data_in_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    file = one("Add", ("n", 16), normal(16))
    onnx.save(file, path, save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").write_bytes(bytes(20))
    assert "the tensor 'c0'" in refusal(path)


def test_data_in_a_folder_that_is_a_link_to_another(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    file = one("Add", ("n", 16), normal(16))
    onnx.save(file, home / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (home / "m.data").rename(other / "m.data")
    stored = onnx.load(home / "m.onnx", load_external_data=False)
    for entry in first(stored).external_data:
        if entry.key == "location":
            entry.value = "linked/m.data"
    (home / "m.onnx").write_bytes(stored.SerializeToString())
    (home / "linked").symlink_to(other)
    assert "'linked/m.data'" in refusal(home / "m.onnx")
    (home / "linked").unlink()
    (home / "linked").mkdir()
    (other / "m.data").rename(home / "linked" / "m.data")
    assert len(read(home / "m.onnx").nodes) == 1  # a folder of its own is none of that


def test_data_in_a_pipe_do_not_block(tmp_path: Path) -> None:
    file = one("Add", ("n", 16), normal(16))
    onnx.save(file, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").unlink()
    os.mkfifo(tmp_path / "m.data")
    assert "a plain file in the model's own folder" in refusal(tmp_path / "m.onnx")
