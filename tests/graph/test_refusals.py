"""What can't be read is refused in one line that names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harden.errors import InputError
from harden.graph import read
from tests.graph.graphs import constant, model, normal, one

node = helper.make_node


def refusal(given: object) -> str:
    with pytest.raises(InputError) as raised:
        read(given)  # type: ignore[arg-type]  # wrong on purpose
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_every_operator_without_a_rule_is_named_at_once() -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Det", ["a"], ["b"], name="the determinant"),
        node("Sin", ["x"], ["c"], name="one sine"),
        node("Sin", ["a"], ["d"], name="another"),
        node("Add", ["c", "d"], ["y"]),
    ]
    said = refusal(model(nodes, ("n", 3, 3)))
    assert "Det (no rule) in the determinant" in said
    assert "Sin (no rule) in one sine and 1 more" in said
    assert "black box through onnxruntime" in said


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (one("Pad", ("n", 2, 4), np.array([0, 0, 1, 0, 0, 1], np.int64), mode="reflect"), "mode=reflect"),
        (one("PRelu", ("n", 2, 4), normal(2, 1)), "slopes that differ"),
        (one("Softmax", ("n", 2, 4), axis=1, opset=11), "axis 1 of 3 dimensions in opset 11"),
        (one("Cast", ("n", 4), to=TensorProto.INT64), "cast"),
        (one("Add", ("n", 4), np.array([1, np.nan, 0, 0], np.float32)), "not finite"),
        (one("Gemm", ("n", 4), normal(5, 3)), "shapes"),
        (one("Relu", ("n", "c", 4)), "sizes that are known"),
        (one("Relu", ("n",)), "a batch of images"),
        (one("Relu", ("n", 4), opset=6), "opset 6"),
    ],
)
def test_what_is_not_supported(file: onnx.ModelProto, said: str) -> None:
    assert said in refusal(file)


def test_more_than_one_input_or_output() -> None:
    nodes = [node("Add", ["x", "z"], ["y"])]
    file = model(nodes, ("n", 4))
    file.graph.input.append(helper.make_tensor_value_info("z", 1, ["n", 4]))
    assert "2 inputs (x, z)" in refusal(file)
    file = model([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["z"])], ("n", 4))
    file.graph.output.append(helper.make_tensor_value_info("z", 1, None))
    assert "2 outputs (y, z)" in refusal(file)


def test_other_types_than_float32() -> None:
    file = model([node("Relu", ["x"], ["y"])], ("n", 4))
    file.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    assert "'x' of float16; expected float32" in refusal(file)


def test_an_output_that_ignores_the_image() -> None:
    file = model([node("Relu", ["c"], ["y"])], ("n", 4), [constant("c", normal(1, 3))])
    assert "does not depend on the input" in refusal(file)


def test_other_peoples_operators_and_loops() -> None:
    file = model([node("FusedGelu", ["x"], ["y"], domain="com.example")], ("n", 4))
    file.opset_import.append(helper.make_opsetid("com.example", 1))
    assert "FusedGelu" in refusal(file)
    body = helper.make_graph([], "body", [], [])
    assert "Loop" in refusal(model([node("Loop", ["", "", "x"], ["y"], body=body)], ("n", 4)))


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
