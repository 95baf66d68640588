"""A digest of what a graph computes: alike for alike, and changed by any bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from harden.graph import read
from harden.graph.computation_digest import structure_digest
from tests.graph.graphs import Array, constant, model, normal

W, B = normal(4, 3), normal(3)


def digest(nodes: list[onnx.NodeProto], **constants: Array) -> str:
    return structure_digest(
        read(model(nodes, ("n", 4), [constant(name, each) for name, each in constants.items()]))
    )


def node(kind: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    *inputs, output = names
    return helper.make_node(kind, inputs, [output], **attributes)


GEMM = digest([node("Gemm", "x", "w", "b", "y")], w=W, b=B)


def test_names_and_the_order_of_nodes_do_not_enter() -> None:
    one = [node("Relu", "x", "r"), node("Neg", "x", "m"), node("Add", "r", "m", "y")]
    other = [node("Neg", "x", "q"), node("Relu", "x", "p"), node("Add", "q", "p", "y")]
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("MatMul", "x", "w", "p"), node("Add", "p", "b", "y")], {"w": W, "b": B}),
        ([node("MatMul", "x", "w", "p"), node("Add", "b", "p", "y")], {"w": W, "b": B}),
        ([node("Gemm", "x", "w", "b", "y", transB=1)], {"w": W.T.copy(), "b": B}),
        ([node("Gemm", "x", "w", "p"), node("Add", "p", "b", "y")], {"w": W, "b": B[None]}),
        ([node("Identity", "x", "i"), node("Gemm", "i", "w", "b", "y")], {"w": W, "b": B}),
        ([node("Sub", "x", "z", "i"), node("Gemm", "i", "w", "b", "y")], {"z": 0 * B[:1], "w": W, "b": B}),
        ([node("Div", "x", "o", "i"), node("Gemm", "i", "w", "b", "y")], {"o": B[:1] ** 0, "w": W, "b": B}),
    ],
    ids=["product and sum", "sum the other way round", "transposed", "Gemm and sum", "identity", "0", "1"],
)
def test_forms_of_one_product_are_the_same(nodes: list[onnx.NodeProto], constants: dict[str, Array]) -> None:
    assert digest(nodes, **constants) == GEMM


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("Gemm", "x", "w", "b", "y")], {"w": np.nextafter(W, np.float32(9)), "b": B}),
        ([node("Gemm", "x", "w", "b", "y")], {"w": W, "b": -B}),
        ([node("Gemm", "x", "w", "b", "y", alpha=2.0)], {"w": W, "b": B}),
        ([node("Gemm", "x", "w", "b", "y", beta=2.0)], {"w": W, "b": B}),
        ([node("Gemm", "x", "w", "y")], {"w": W}),
        ([node("Relu", "x", "r"), node("Gemm", "r", "w", "b", "y")], {"w": W, "b": B}),
        ([node("Gemm", "x", "w", "p"), node("Sub", "p", "b", "y")], {"w": W, "b": B}),
        ([node("Sub", "z", "x", "i"), node("Gemm", "i", "w", "b", "y")], {"z": 0 * B[:1], "w": W, "b": B}),
        ([node("Mul", "x", "t", "i"), node("Gemm", "i", "w", "b", "y")], {"t": B[:1], "w": W, "b": B}),
    ],
    ids=["one bit", "bias", "alpha", "beta", "no bias", "relu", "difference", "negative", "factor"],
)
def test_what_computes_something_else_is_another(
    nodes: list[onnx.NodeProto], constants: dict[str, Array]
) -> None:
    assert digest(nodes, **constants) != GEMM


def test_a_difference_is_not_taken_for_its_negative() -> None:
    one = [node("Relu", "x", "r"), node("Sub", "x", "r", "y")]
    other = [node("Relu", "x", "r"), node("Sub", "r", "x", "y")]
    assert digest(one) != digest(other)


def test_attributes_enter() -> None:
    assert digest([node("LeakyRelu", "x", "y", alpha=0.1)]) != digest(
        [node("LeakyRelu", "x", "y", alpha=0.2)]
    )
