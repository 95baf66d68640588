"""Operators between values that all depend on the images, and those with several outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.graph import read
from tests.graph.graphs import constant, model, normal, run

node = helper.make_node
SHAPE = ("n", 6, 4)


def agree(file: onnx.ModelProto, *shape: int) -> None:
    """The runtime's values for two batch sizes, and a gradient."""
    graph = read(file)
    for batch in (1, 3):
        x = normal(batch, *shape, seed=batch)
        expected = run(file, x)
        given = torch.from_numpy(x).requires_grad_()
        found = graph.run(given)
        assert tuple(found.shape) == expected.shape
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=2e-5, atol=2e-5)
        (gradient,) = torch.autograd.grad(found.square().sum(), given)
        assert bool(gradient.any())
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
def test_the_four_operations(kind: str) -> None:
    """The second value is a row for each image, between 1 and 2, broadcast."""
    nodes = [
        node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        node("Sigmoid", ["mean"], ["small"]),
        node("Add", ["small", "one"], ["row"]),
        node(kind, ["x", "row"], ["y"]),
    ]
    agree(model(nodes, SHAPE, [constant("axes", np.array([1])), constant("one", np.float32(1))]), 6, 4)


def test_the_same_value_twice() -> None:
    agree(model([node("Mul", ["x", "x"], ["y"])], SHAPE), 6, 4)


def test_attention() -> None:
    """Queries, keys and values of the image itself, in two heads, their shapes computed."""
    nodes = [
        node("Shape", ["x"], ["sizes"], start=0, end=2),
        node("Concat", ["sizes", "heads"], ["apart"], axis=0),
        node("MatMul", ["x", "w"], ["all"]),
        node("Split", ["all"], ["q0", "k0", "v0"], axis=-1, num_outputs=3),
    ]
    for name in "qkv":
        nodes += [
            node("Reshape", [f"{name}0", "apart"], [f"{name}1"]),
            node("Transpose", [f"{name}1"], [name], perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]),
        ]
    nodes += [
        node("MatMul", ["q", "k"], ["scores"]),
        node("Mul", ["scores", "scale"], ["scaled"]),
        node("Softmax", ["scaled"], ["weights"], axis=-1),
        node("MatMul", ["weights", "v"], ["seen"]),
        node("Transpose", ["seen"], ["back"], perm=[0, 2, 1, 3]),
        node("Concat", ["sizes", "rest"], ["together"], axis=0),
        node("Reshape", ["back", "together"], ["y"]),
    ]
    constants = [
        constant("heads", np.array([2, 2])),
        constant("rest", np.array([-1])),
        constant("w", normal(4, 12)),
        constant("scale", np.float32(2**-0.5)),
    ]
    agree(model(nodes, SHAPE, constants), 6, 4)


def test_values_one_after_the_other() -> None:
    nodes = [
        node("Relu", ["x"], ["above"]),
        node("Neg", ["x"], ["less"]),
        node("Concat", ["above", "less", "x"], ["y"], axis=-2),
    ]
    agree(model(nodes, SHAPE), 6, 4)


@pytest.mark.parametrize(
    ("opset", "sizes", "attributes"),
    [
        (11, None, {}),
        (11, None, {"split": [1, 2, 3]}),
        (13, None, {}),
        (13, [3, 1, 2], {}),
        (18, None, {"num_outputs": 3}),
        (18, [2, 0, 4], {}),
    ],
)
def test_split(opset: int, sizes: list[int] | None, attributes: dict[str, Any]) -> None:
    """The parts change places, so that each is seen."""
    given = ["x"] if sizes is None else ["x", "sizes"]
    nodes = [
        node("Split", given, ["a", "b", "c"], axis=1, **attributes),
        node("Neg", ["b"], ["less"]),
        node("Concat", ["c", "less", "a"], ["y"], axis=1),
    ]
    constants = [] if sizes is None else [constant("sizes", np.array(sizes))]
    agree(model(nodes, SHAPE, constants, opset=opset), 6, 4)


def test_a_split_that_does_not_come_out_even() -> None:
    nodes = [
        node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
        node("ReduceSum", ["b", "axes"], ["rest"], keepdims=1),
        node("Mul", ["a", "rest"], ["y"]),
    ]
    agree(model(nodes, ("n", 7, 4), [constant("axes", np.array([1]))]), 7, 4)


def test_a_part_that_nobody_asks_for_keeps_its_place() -> None:
    nodes = [
        node("Split", ["x"], ["a", "unused", "c"], axis=1, num_outputs=3),
        node("Sub", ["a", "c"], ["y"]),
    ]
    x = normal(2, 6, 4)
    found = read(model(nodes, SHAPE)).run(torch.from_numpy(x)).numpy()
    assert np.array_equal(found, x[:, :2] - x[:, 4:])


@pytest.mark.parametrize("sides", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_transposed_products(sides: tuple[int, int]) -> None:
    """An image as a column of (inputs, images), turned by the product itself or before it."""
    nodes = [
        node("Transpose", ["x"], ["column"], perm=[1, 0]),
        node("Gemm", ["column" if sides[0] else "x", "w", "b"], ["y"], transA=sides[0], transB=sides[1]),
    ]
    weight = normal(5, 6) if sides[1] else normal(6, 5)
    agree(model(nodes[1 - sides[0] :], ("n", 6), [constant("w", weight), constant("b", normal(5))]), 6)


def test_a_constant_as_the_left_side_of_a_product() -> None:
    nodes = [
        node("Gemm", ["w", "x"], ["column"], transB=1, alpha=0.5),
        node("Transpose", ["column"], ["y"], perm=[1, 0]),
    ]
    agree(model(nodes, ("n", 6), [constant("w", normal(5, 6))]), 6)


def test_a_shape_computed_from_another() -> None:
    """What old exporters write: the batch from Shape, the rest counted by hand, by Slice, Gather and Mul."""
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Slice", ["sizes", "zero", "one"], ["batch"]),
        node("Gather", ["sizes", "one"], ["high"]),
        node("Gather", ["sizes", "two"], ["wide"]),
        node("Mul", ["high", "wide"], ["area"]),
        node("Concat", ["batch", "area"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["y"]),
    ]
    numbers = [constant(name, np.array([at])) for at, name in enumerate(("zero", "one", "two"))]
    agree(model(nodes, SHAPE, numbers), 6, 4)
