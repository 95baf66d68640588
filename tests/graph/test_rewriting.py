"""Chains that onnxruntime's optimiser writes anew: the reading holds at each level, or is listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from harden.graph import read
from tests.graph.conformance import LEVELS, reading, runtime, tolerance
from tests.graph.graphs import Array, Given, constant, model, normal

IMAGE = (4, 6, 6)
Link = tuple[str, dict[str, Any], list[Given | str]]
"""An operator, its attributes, and what it takes after the value before it; a name is another value."""


def link(kind: str, *inputs: Given | str, **attributes: Any) -> Link:
    """One."""
    return kind, attributes, list(inputs)


def ints(*numbers: int) -> Array:
    """A list of integers."""
    return np.array(numbers, np.int64)


weight, bias = normal(4, 4, 3, 3, seed=1), normal(4, seed=2)
CONV = link("Conv", weight, bias)
MATRIX = link("MatMul", normal(6, 5, seed=3))
NORM = link(
    "BatchNormalization",
    np.abs(bias) + np.float32(0.2),
    bias,
    normal(4, seed=4),
    np.abs(bias) + np.float32(0.3),
)
DENSE = (link("Flatten"), link("Gemm", normal(144, 5, seed=5), normal(5, seed=6)))
PADS = ints(0, 0, 1, 1, 0, 0, 1, 1)
half, root = np.float32(0.5), np.float32(2**0.5)
CHAINS: dict[str, tuple[Link, ...]] = {
    "Conv, BatchNormalization": (CONV, NORM),
    "BatchNormalization, Conv": (NORM, CONV),
    "Conv, Mul": (CONV, link("Mul", normal(4, 1, 1, seed=7))),
    "Conv, Add": (CONV, link("Add", normal(4, 1, 1, seed=8))),
    "Conv, Add of a map, Relu": (link("Conv", weight, pads=[1, 1, 1, 1]), link("Add", "x"), link("Relu")),
    "Conv, Clip": (CONV, link("Clip", np.float32(0), np.float32(6))),
    **{
        f"Conv, {kind}": (CONV, link(kind))
        for kind in ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu")
    },
    "Conv, MaxPool, Conv": (CONV, link("MaxPool", kernel_shape=[2, 2]), link("Conv", normal(2, 4, 1, 1))),
    "Conv of 16 channels, BatchNormalization, Relu, AveragePool": (
        link("Conv", normal(16, 4, 3, 3)),
        link("BatchNormalization", *[np.abs(normal(16)) + half] * 4),
        link("Relu"),
        link("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        link("Conv", normal(16, 16, 1, 1)),
    ),
    "Conv of 16 channels, GlobalAveragePool": (link("Conv", normal(16, 4, 3, 3)), link("GlobalAveragePool")),
    "Conv of 16 channels, Resize": (
        link("Conv", normal(16, 4, 3, 3)),
        link("Resize", "", np.array([1, 1, 2, 2], np.float32)),
    ),
    "Conv of 16 channels, Add, Concat": (
        link("Conv", normal(16, 4, 1, 1)),
        link("Add", "1"),
        link("Concat", "1", axis=1),
    ),
    "Pad, Conv": (link("Pad", PADS), CONV),
    "Pad by 1.5, Conv": (link("Pad", PADS, np.float32(1.5)), CONV),
    "Pad, MaxPool": (link("Pad", PADS), link("MaxPool", kernel_shape=[2, 2])),
    "Pad, AveragePool": (link("Pad", PADS), link("AveragePool", kernel_shape=[2, 2])),
    "Pad, AveragePool with padding counted": (
        link("Pad", PADS),
        link("AveragePool", kernel_shape=[2, 2], count_include_pad=1),
    ),
    "MatMul, Add": (MATRIX, link("Add", normal(5))),
    "MatMul, Mul": (MATRIX, link("Mul", np.float32(0.3))),
    "Div, MatMul": (link("Div", np.float32(3)), MATRIX),
    "MatMul, Add on rows": (link("Flatten"), link("MatMul", normal(144, 5)), link("Add", normal(5))),
    "MatMul, BatchNormalization": (link("Flatten"), link("MatMul", normal(144, 4)), NORM),
    "Gemm, Relu": (*DENSE, link("Relu")),
    "Gemm, Add": (*DENSE, link("Add", normal(5))),
    "Gemm, Mul": (*DENSE, link("Mul", normal(5))),
    "Gemm with factors, Sigmoid": (
        link("Flatten"),
        link("Gemm", normal(144, 5), normal(5), alpha=0.3, beta=2.0),
        link("Sigmoid"),
    ),
    "Transpose, MatMul": (link("Transpose", perm=[0, 1, 3, 2]), MATRIX),
    "Transpose, Transpose": (
        link("Transpose", perm=[0, 2, 3, 1]),
        link("Transpose", perm=[0, 3, 1, 2]),
        CONV,
    ),
    "Reshape, Reshape": (link("Reshape", ints(0, 4, 36)), link("Reshape", ints(0, -1))),
    "Relu, Clip": (link("Relu"), link("Clip", np.float32(-1), half)),
    "Clip, Clip": (link("Clip", np.float32(-1), half), link("Clip", np.float32(-0.3), np.float32(2))),
    "Add, Relu, Mul by 1, Add of 0": (
        link("Add", normal(6)),
        link("Relu"),
        link("Mul", np.float32(1)),
        link("Add", np.float32(0)),
    ),
    "Dropout, Identity, Cast": (link("Dropout"), link("Identity"), link("Cast", to=1), CONV),
    "Gelu by Erf": (
        link("Div", root),
        link("Erf"),
        link("Add", np.float32(1)),
        link("Mul", "x"),
        link("Mul", half),
    ),
    "Gelu of a biased product": (
        MATRIX,
        link("Add", normal(5)),
        link("Div", root),
        link("Erf"),
        link("Add", np.float32(1)),
        link("Mul", "2"),
        link("Mul", half),
    ),
    "Gelu by Tanh": (
        link("Pow", np.float32(3)),
        link("Mul", np.float32(0.044715)),
        link("Add", "x"),
        link("Mul", np.float32(0.7978845608)),
        link("Tanh"),
        link("Add", np.float32(1)),
        link("Mul", "x"),
        link("Mul", half),
    ),
    "SiLU": (link("Sigmoid"), link("Mul", "x")),
    "SiLU of a convolution": (CONV, link("Sigmoid"), link("Mul", "1")),
    "HardSwish by HardSigmoid": (link("HardSigmoid", alpha=1 / 6, beta=0.5), link("Mul", "x")),
    "LayerNormalization by hand": (
        link("ReduceMean", ints(-1)),
        link("Sub:x"),
        link("Pow", np.float32(2)),
        link("ReduceMean", ints(-1)),
        link("Add", np.float32(1e-5)),
        link("Sqrt"),
        link("Div:2"),
        link("Mul", normal(6)),
        link("Add", normal(6)),
    ),
    "Softmax, MatMul": (link("MatMul", normal(6, 6)), link("Softmax"), MATRIX),
    "Not, Where": (link("Greater", np.float32(0)), link("Not"), link("Where", "x", np.float32(0.1))),
    "Slice, Slice": (link("Slice", ints(1), ints(6), ints(2)), link("Slice", ints(0), ints(3), ints(3))),
    "Unsqueeze, Squeeze": (link("Unsqueeze", ints(2)), link("Squeeze", ints(2)), CONV),
    "Expand to its own size": (link("Expand", ints(1)), CONV),
    "ReduceMean over an image, Flatten": (CONV, link("ReduceMean", ints(2, 3)), link("Flatten")),
    "Conv of 16 channels, Sigmoid, Mul, Add": (
        link("Conv", normal(16, 4, 1, 1)),
        link("Sigmoid"),
        link("Mul", "1"),
        link("Add", "1"),
        link("Conv", normal(4, 16, 1, 1)),
    ),
    "Sub, Abs, Max, Sum": (link("Sub", half), link("Abs"), link("Max", "x"), link("Sum", "x", "1")),
}
CHANGED = {
    # The padding of 0 becomes MaxPool's own, minus infinity: another value wherever a window is negative.
    "Pad, MaxPool": ("basic", "extended", "all"),
}
"""Rewritings of onnxruntime's that change what is computed, and the levels at which they do."""


def chain(links: tuple[Link, ...]) -> onnx.ModelProto:
    """A file of one operator after the other."""
    nodes, constants, last = [], [], "x"
    for at, (kind, attributes, inputs) in enumerate(links, 1):
        kind, _, before = kind.partition(":")  # what comes before the value: a difference from it, a quotient
        names = [before, last] if before else [last]
        for number, given in enumerate(inputs):
            if isinstance(given, str):
                names.append(given)
                continue
            names.append(f"c{at}.{number}")
            constants.append(constant(names[-1], given))
        last = "y" if at == len(links) else str(at)
        nodes.append(helper.make_node(kind, names, [last], **attributes))
    return model(nodes, ("n", *IMAGE), constants)


def differing(file: onnx.ModelProto) -> Iterator[str]:
    """The levels at which the runtime differs from the reading."""
    x = normal(3, *IMAGE, seed=9) - np.float32(1)
    found, wide = reading(read(file), x)
    for level in LEVELS:
        answer = runtime(file, x, level)
        assert answer is not None
        assert answer.shape == wide.shape
        if not np.abs(answer - wide).max() <= tolerance(found, wide):
            yield level


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_computed_as_it_is_read_unless_it_is_listed(name: str) -> None:
    assert tuple(differing(chain(CHAINS[name]))) == CHANGED.get(name, ())
