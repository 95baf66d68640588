"""Weights, biases and maps that a file keeps as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from harden.errors import InputError
from harden.graph import read
from harden.graph.operators.quantisation import DequantizeLinear, QuantizeLinear
from tests.graph.graphs import Array, constant, model, normal, run

node = helper.make_node


def agree(file: onnx.ModelProto, x: Array, tolerance: float = 1e-5) -> None:
    found = read(file).run(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, run(file, x), rtol=tolerance, atol=tolerance)


def integers(kind: Any, *shape: int) -> Array:
    limits = np.iinfo(kind)
    found: Array = np.random.default_rng(0).integers(limits.min, limits.max + 1, shape).astype(kind)
    return found


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_a_convolution_of_bytes_with_a_bias_of_int32(kind: type[np.int8] | type[np.uint8]) -> None:
    constants = [
        constant("w", integers(kind, 3, 2, 3, 3)),
        constant("scale", np.array([0.1, 0.01, 0.3], np.float32)),
        constant("zero", np.array([0, 5, 101], kind)),
        constant("b", np.array([123456789, -7, 2**31 - 1], np.int32)),
        constant("zeros", np.zeros(3, np.int32)),
    ]
    nodes = [
        node("DequantizeLinear", ["w", "scale", "zero"], ["weight"], axis=0),
        node("DequantizeLinear", ["b", "scale", "zeros"], ["bias"], axis=0),
        node("Conv", ["x", "weight", "bias"], ["y"]),
    ]
    file = model(nodes, ("n", 2, 5, 5), constants, opset=13)
    assert [each.kind for each in read(file).nodes] == ["Conv"]
    agree(file, normal(2, 2, 5, 5))


@pytest.mark.parametrize("opset", [10, 13, 19, 21])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_weights_that_the_file_itself_quantises(opset: int, kind: type[np.int8] | type[np.uint8]) -> None:
    """Eighths on a grid of quarters: every other one is half-way."""
    nodes = [
        node("QuantizeLinear", ["w", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["weight"]),
        node("MatMul", ["x", "weight"], ["y"]),
    ]
    constants = [
        constant("w", ((np.arange(400) - 200) / 8).astype(np.float32).reshape(4, 100)),
        constant("scale", np.float32(0.25)),
        constant("zero", np.array(3, kind)),
    ]
    file = model(nodes, ("n", 4), constants, opset=opset)
    assert [each.kind for each in read(file).nodes] == ["MatMul"]
    agree(file, np.eye(4, dtype=np.float32), tolerance=0)


def test_weights_of_four_bits() -> None:
    weight = helper.make_tensor("w", TensorProto.INT4, [4, 2], [1, -2, 3, 4, 5, -6, 7, -8])
    nodes = [
        node("DequantizeLinear", ["w", "scale"], ["weight"]),
        node("MatMul", ["x", "weight"], ["y"]),
    ]
    agree(model(nodes, ("n", 4), [weight, constant("scale", np.float32(0.5))], opset=21), normal(3, 4))


def test_blocks_are_refused() -> None:
    nodes = [
        node("DequantizeLinear", ["w", "scale"], ["weight"], axis=0, block_size=2),
        node("MatMul", ["x", "weight"], ["y"]),
    ]
    constants = [constant("w", integers(np.int8, 4, 2)), constant("scale", np.ones((2, 2), np.float32))]
    with pytest.raises(InputError, match="block_size=2"):
        read(model(nodes, ("n", 4), constants, opset=21))


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
def test_grids_of_sixteen_bits(kind: type[np.int16] | type[np.uint16]) -> None:
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    constants = [constant("scale", np.float32(0.1)), constant("zero", np.array(5, kind))]
    file = model(nodes, ("n", 1000), constants, opset=21)
    agree(file, (np.arange(-5000, 5000) * 1.05).astype(np.float32).reshape(10, 1000), tolerance=0)


@pytest.mark.parametrize(("number", "low"), [(None, 0), (2, 0), (3, -128)])
def test_a_grid_without_a_zero_point(number: int | None, low: int) -> None:
    kind: dict[str, Any] = {} if number is None else {"output_dtype": number}
    nodes = [
        node("QuantizeLinear", ["x", "scale"], ["q"], **kind),
        node("DequantizeLinear", ["q", "scale"], ["y"]),
    ]
    file = model(nodes, ("n", 40), [constant("scale", np.float32(0.5))], opset=21)
    operation = read(file).nodes[0].operation
    assert isinstance(operation, QuantizeLinear)
    assert operation.low == low
    agree(file, 60 * normal(3, 40), tolerance=0)


def test_maps_that_are_pooled_and_moved_as_integers() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("MaxPool", ["q"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Transpose", ["pooled"], ["turned"], perm=[0, 2, 3, 1]),
        node("Flatten", ["turned"], ["flat"]),
        node("DequantizeLinear", ["flat", "scale", "zero"], ["y"]),
    ]
    constants = [constant("scale", np.float32(0.05)), constant("zero", np.array(-7, np.int8))]
    agree(model(nodes, ("n", 2, 5, 5), constants), normal(3, 2, 5, 5), tolerance=0)


def test_the_gradient_of_each_channel_follows_its_own_range() -> None:
    """0 to 255 stand for [0, 2.55] in one channel and for [-51, 0] in the other."""
    scale, zero = torch.tensor([0.01, 0.2]), torch.tensor([0.0, 255.0])
    x = torch.tensor([[[-0.1, 1.0, 2.6], [-52.0, -1.0, 0.3]]], requires_grad=True)
    there = QuantizeLinear(0, 255, axis=1)(x, scale, zero)
    back = DequantizeLinear(axis=1)(there, scale, zero)
    torch.testing.assert_close(back, torch.tensor([[[0.0, 1.0, 2.55], [-51.0, -1.0, 0.0]]]))
    (gradient,) = torch.autograd.grad((3 * back).sum(), x)
    torch.testing.assert_close(gradient, torch.tensor([[[0.0, 3.0, 0.0], [0.0, 3.0, 0.0]]]))
