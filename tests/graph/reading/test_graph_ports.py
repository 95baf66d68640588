"""Input and output of a classifier's graph: one of each, of float32, the batch first."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from harden.errors import InputError
from harden.graph import BATCH, Port
from harden.graph.reading.graph_ports import input_port, output_name
from tests.graph.graphs import constant, model, normal, one, refusal

node = helper.make_node


@pytest.mark.parametrize(("batch", "fixed"), [("n", None), (3, 3)])
def test_the_images_and_the_batch_that_the_file_fixes(batch: str | int, fixed: int | None) -> None:
    graph = one("Relu", (batch, 2, 5)).graph
    assert input_port(graph) == (Port("x", (BATCH, 2, 5)), fixed)
    assert output_name(graph) == "y"


def test_a_constant_among_the_inputs_is_none() -> None:
    """Old files list their initialisers as inputs too."""
    file = model([node("Add", ["x", "w"], ["y"])], ("n", 4), [constant("w", normal(4))])
    file.graph.input.append(helper.make_tensor_value_info("w", 1, [4]))
    assert input_port(file.graph)[0].name == "x"


@pytest.mark.parametrize("shape", [("n",), (), ("n", "c", 4), ("n", 0), (0, 4)])
def test_images_of_unknown_or_no_size(shape: tuple[int | str, ...]) -> None:
    with pytest.raises(InputError, match="the input 'x' of shape"):
        input_port(one("Relu", shape).graph)


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


def test_types_of_no_name() -> None:
    file = one("Relu", ("n", 4))
    file.graph.input[0].type.tensor_type.elem_type = 99
    assert "'x' of no known type" in refusal(file)
