"""Comparisons jump: their gradient is 0, and what is chosen by them has its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.bounds import Program
from harden.errors import InputError
from harden.graph import GraphNetwork, read
from tests.graph.graphs import constant, model, normal, run

node = helper.make_node
ZERO = constant("zero", np.float32(0))


@pytest.mark.parametrize("kind", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"])
def test_a_file_of_comparisons_alone_has_the_gradient_0_and_no_bound(kind: str) -> None:
    nodes = [node(kind, ["x", "zero"], ["a"]), node("Cast", ["a"], ["y"], to=1)]
    file, x = model(nodes, ("n", 4), [ZERO]), normal(3, 4)
    graph = read(file)
    assert np.array_equal(graph.run(torch.from_numpy(x)).numpy(), run(file, x))
    given = torch.from_numpy(x).requires_grad_()
    (gradient,) = torch.autograd.grad(GraphNetwork(graph)(given).sum(), given)
    assert not bool(gradient.any())
    with pytest.raises(InputError, match=rf"without a sound bound: {kind} \("):
        Program.of(graph)


def test_what_is_chosen_has_its_gradient_and_what_is_not_has_none() -> None:
    nodes = [
        node("Greater", ["x", "zero"], ["a"]),
        node("Mul", ["x", "three"], ["b"]),
        node("Where", ["a", "x", "b"], ["y"]),
    ]
    graph = read(model(nodes, ("n", 2), [ZERO, constant("three", np.float32(3))]))
    x = torch.tensor([[2.0, -2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(graph.run(x).sum(), x)
    assert gradient.tolist() == [[1.0, 3.0]]


def test_a_mask_of_minus_infinity_is_read_and_never_bounded() -> None:
    mask = np.where(np.tri(4, dtype=bool), np.float32(0), np.float32(-np.inf))
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        node("Add", ["s", "mask"], ["m"]),
        node("Softmax", ["m"], ["y"]),
    ]
    file = model(nodes, ("n", 4, 3), [constant("w", normal(3, 4)), constant("mask", mask)])
    graph, x = read(file), normal(2, 4, 3)
    np.testing.assert_allclose(graph.run(torch.from_numpy(x)).numpy(), run(file, x), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match=r"Add \(m: operation Mask has no bound rule\), Softmax \(y: "):
        Program.of(graph)


@pytest.mark.parametrize(
    ("kind", "outputs", "inputs", "attributes"),
    [
        ("Dropout", ["y", "mask"], [], {}),
        ("MaxPool", ["y", "places"], [], {"kernel_shape": [2]}),
        ("LayerNormalization", ["y", "mean", "root"], [constant("s", normal(6))], {}),
    ],
)
def test_outputs_that_nothing_reads_are_no_trouble(
    kind: str, outputs: list[str], inputs: list[onnx.TensorProto], attributes: dict[str, Any]
) -> None:
    names = ["x", *(each.name for each in inputs)]
    file = model([node(kind, names, outputs, **attributes)], ("n", 2, 6), inputs)
    x = normal(3, 2, 6)
    np.testing.assert_allclose(
        read(file).run(torch.from_numpy(x)).numpy(), run(file, x), rtol=1e-5, atol=1e-6
    )
    file.graph.output[0].name = outputs[1]
    with pytest.raises(InputError):
        read(file)
