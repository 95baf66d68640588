"""Files that break ONNX's own rules, or were damaged: an InputError of one line, never another exception."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harden.errors import InputError
from harden.graph import read
from tests.graph.graphs import constant, model, normal, one, refusal
from tests.graph.reading.test_read import small

node = helper.make_node


def first(file: onnx.ModelProto) -> TensorProto:
    """Its first initialiser."""
    found: TensorProto = file.graph.initializer[0]
    return found


def shorten(tensor: TensorProto) -> None:
    tensor.raw_data = tensor.raw_data[:-3]


def lengthen(tensor: TensorProto) -> None:
    tensor.raw_data += tensor.raw_data


def empty(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")


def negate(tensor: TensorProto) -> None:
    tensor.dims[0] = -4


def unknown(tensor: TensorProto) -> None:
    tensor.data_type = 99


def untyped(tensor: TensorProto) -> None:
    tensor.data_type = TensorProto.UNDEFINED


@pytest.mark.parametrize("spoil", [shorten, lengthen, empty, negate, unknown, untyped])
def test_a_tensor_that_is_not_what_it_says(spoil: Callable[[TensorProto], None]) -> None:
    file = one("Add", ("n", 4), normal(4))
    spoil(first(file))
    assert "the tensor 'c0' that can't be read" in refusal(file)
    value = constant("value", normal(4))
    spoil(value)
    nodes = [node("Constant", [], ["c"], value=value), node("Add", ["x", "c"], ["y"])]
    assert "the tensor 'value' that can't be read" in refusal(model(nodes, ("n", 4)))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (one("Conv", ("n", 2, 4, 4)), "Conv (inputs or attributes that do not fit"),
        (one("MatMul", ("n", 2)), "MatMul (inputs or attributes that do not fit"),
        (one("MaxPool", ("n", 2, 4, 4)), "MaxPool"),
        (one("Gather", ("n", 2)), "Gather (inputs or attributes that do not fit"),
        (one("LeakyRelu", ("n", 2), alpha="steep"), "LeakyRelu (inputs or attributes that do not fit"),
        (
            one("Conv", ("n", 2, 4, 4), normal(2, 2, 2, 2), auto_pad="SAME_UPPER", strides=[0, 1]),
            "division",
        ),
        (one("Conv", ("n", 2, 4, 4), normal(2, 2, 2, 2), strides=[1]), "Conv"),
        (one("Conv", ("n", 2, 4, 4), normal(2, 3, 2, 2)), "Conv (shapes"),
        (one("Gather", ("n", 4), np.array([0, 4]), axis=1), "indices outside the 4 of axis 1"),
        (one("Split", ("n", 4), np.array([2, 9]), axis=1), "4 split into [2, 9]"),
        (one("Squeeze", ("n", 4, 2), np.array([1])), "axes [1]"),
        (one("Transpose", ("n", 4, 2), perm=[0, 1]), "Transpose (shapes"),
        (one("Concat", ("n", 4), axis=7), "Concat (shapes"),
        (one("Reshape", ("n", 4), np.array([0, 3])), "Reshape (shapes"),
        (one("Pow", ("n", 4), np.ones((1, 1, 1), np.float32)), "more dimensions"),
    ],
)
def test_nodes_that_do_not_fit(file: onnx.ModelProto, said: str) -> None:
    assert said in refusal(file)


def test_a_value_that_nothing_gives_is_named_by_its_node() -> None:
    nodes = [node("Add", ["x", "nothing"], ["y"], name="the sum")]
    assert "Add (an input that no node before it gives) in the sum" in refusal(model(nodes, ("n", 4)))


def test_what_builds_on_a_node_that_is_refused_is_not_named_too() -> None:
    nodes = [node("Det", ["x"], ["a"]), node("Relu", ["a"], ["b"]), node("Neg", ["b"], ["y"])]
    said = refusal(model(nodes, ("n", 3, 3)))
    assert "Det (no rule)" in said
    assert "Relu" not in said
    assert "Neg" not in said


def test_an_output_that_no_node_gives() -> None:
    assert "does not depend on the input" in refusal(
        model([node("Relu", ["x"], ["y"])], ("n", 4), output="z")
    )


def test_names_that_would_write_on_the_terminal() -> None:
    """A name in a stranger's file is printed: it must not break the line or change its colour."""
    dirty = "a\nb\x1b[31m\r\u2028c"
    said = refusal(model([node("Det", ["x"], ["y"], name=dirty)], ("n", 3, 3)))
    assert "a b [31m c" in said
    file = model([node("Relu", ["x"], ["y"]), node("Relu", ["x"], [dirty])], ("n", 4))
    file.graph.output.append(helper.make_tensor_value_info(dirty, 1, None))
    assert "a b [31m c" in refusal(file)
    file = one("Relu", ("n", 4))
    file.graph.input.append(helper.make_tensor_value_info(dirty, 1, ["n", 4]))
    assert "a b [31m c" in refusal(file)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_are_read_or_refused(seed: int) -> None:
    draw = random.Random(seed)
    whole = small().SerializeToString()
    said = []
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 1, 2, 3])):
            at = draw.randrange(len(damaged))
            match draw.choice(["flip", "flip", "cut", "add", "change"]):
                case "flip":
                    damaged[at] ^= 1 << draw.randrange(8)
                case "cut":
                    del damaged[at : at + draw.randint(1, 4)]
                case "add":
                    damaged[at:at] = bytes([draw.randrange(256)])
                case _:
                    damaged[at] = draw.randrange(256)
        try:
            read(bytes(damaged))
        except InputError as error:
            said.append(str(error))
    assert 100 < len(said) < 300
    assert all(each.isprintable() for each in said)
