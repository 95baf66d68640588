"""Files of one operator each, with its attributes, and their comparison with onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import torch

from harden.graph import read
from harden.graph.operators.operator_row import Operator
from tests.graph.graphs import Given, normal, one, run

IMAGE = ("n", 4, 7, 6)
ints = np.int64
CASES: dict[str, tuple[onnx.ModelProto, tuple[int, ...]]] = {}


def case(name: str, kind: str, shape: tuple[int | str, ...], *inputs: Given | None, **more: Any) -> None:
    CASES[f"{kind} {name}"] = (one(kind, shape, *inputs, **more), tuple(int(s) for s in shape[1:]))


for name, weight, attributes in (
    ("plain", normal(5, 4, 3, 3), {}),
    ("strided", normal(5, 4, 3, 2), {"strides": [2, 3], "pads": [1, 1, 1, 1]}),
    ("grouped", normal(6, 2, 3, 3), {"group": 2, "dilations": [2, 1], "pads": [2, 0, 2, 0]}),
    ("asymmetric", normal(5, 4, 3, 3), {"pads": [0, 1, 2, 3]}),
    ("same upper", normal(5, 4, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("same lower", normal(5, 4, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("valid", normal(5, 4, 2, 2), {"auto_pad": "VALID"}),
    (
        "same upper, a gap behind",
        normal(5, 4, 1, 1),
        {"auto_pad": "SAME_UPPER", "strides": [1, 2]},
    ),
    (
        "same lower, a gap behind",
        normal(5, 4, 1, 1),
        {"auto_pad": "SAME_LOWER", "strides": [1, 2]},
    ),
):
    case(name, "Conv", IMAGE, weight, normal(len(weight)), **attributes)
case("without a bias", "Conv", IMAGE, normal(5, 4, 3, 3))
case("channel by channel", "Conv", IMAGE, normal(8, 1, 3, 3), normal(8), group=4, pads=[1, 1, 1, 1])
case("in one dimension", "Conv", ("n", 4, 9), normal(5, 4, 3), normal(5), strides=[2], pads=[1, 0])
case("in three", "Conv", ("n", 2, 4, 5, 4), normal(3, 2, 2, 2, 2), normal(3))
for kind in ("MaxPool", "AveragePool"):
    case("plain", kind, IMAGE, kernel_shape=[2, 3])
    case("overlapping", kind, IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    case("asymmetric", kind, IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[0, 1, 2, 0])
    case("ceil", kind, ("n", 4, 8, 7), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
case("dilated", "MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 3])
case("padding counts", "AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
case(
    "padding counts, asymmetric",
    "AveragePool",
    IMAGE,
    kernel_shape=[3, 2],
    pads=[0, 1, 2, 0],
    count_include_pad=1,
)
for kind in (
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Relu",
    "Sigmoid",
    "Tanh",
    "Neg",
    "Abs",
    "Erf",
    "Identity",
):
    case("", kind, IMAGE)
for kind in ("LeakyRelu", "HardSigmoid"):
    case("default", kind, IMAGE)
    case("alpha", kind, IMAGE, alpha=0.3)
case("", "HardSwish", IMAGE)
case("", "Dropout", IMAGE)
case("", "PRelu", IMAGE, np.array([0.2], np.float32))
case("", "Gelu", IMAGE, opset=20)
case("tanh", "Gelu", IMAGE, opset=20, approximate="tanh")
case("of one channel", "GlobalAveragePool", ("n", 1, 9))
case("in one dimension", "GlobalMaxPool", ("n", 3, 9))
case("without ends", "Clip", IMAGE)
case("both ends", "Clip", IMAGE, np.float32(-0.3), np.float32(0.4))
case("open below", "Clip", IMAGE, None, np.float32(0.4))
case("open above", "Clip", IMAGE, np.float32(-0.3))
case("by attributes", "Clip", IMAGE, opset=7, min=-0.3, max=0.4)
case("last axis", "Softmax", IMAGE, axis=-1)
case("channels", "Softmax", IMAGE, axis=1)
case("old", "Softmax", ("n", 9), axis=1, opset=11)
case("old, of maps of one pixel", "Softmax", ("n", 9, 1, 1), axis=1, opset=11)
case("without a bias", "LayerNormalization", IMAGE, normal(6))
case("", "LayerNormalization", IMAGE, normal(6), normal(6), axis=-1)
case("two axes", "LayerNormalization", IMAGE, normal(7, 6), axis=2, epsilon=1e-3)
positive = np.abs(normal(4)) + 0.1
case("", "BatchNormalization", IMAGE, normal(4), normal(4, seed=1), normal(4, seed=2), positive, epsilon=1e-3)
for shape in (("n", 4), ("n", 4, 9)):
    case(f"{len(shape)} dimensions", "BatchNormalization", shape, *(positive,) * 4)
case("one bias", "Gemm", ("n", 6), normal(6, 5), normal(1), beta=0.5)
case("", "Gemm", ("n", 6), normal(6, 5), normal(5))
case("scaled", "Gemm", ("n", 6), normal(5, 6), normal(1, 5), alpha=0.5, beta=2.0, transB=1)
case("without a bias", "Gemm", ("n", 6), normal(6, 5))
case("", "MatMul", ("n", 3, 6), normal(6, 5))
case("of maps", "MatMul", IMAGE, normal(4, 6, 5))
case("constant before", "MatMul", ("n", 3, 6), normal(2, 3), first=1)
case("old sum", "ReduceSum", IMAGE, axes=[-1], opset=11)
case("old mean", "ReduceMean", IMAGE, axes=[2, 3], keepdims=0, opset=13)
for kind in ("ReduceMean", "ReduceSum"):
    case("axes as input", kind, IMAGE, np.array([-1, 1], ints), keepdims=1)
    case("of all but the batch", kind, ("n", 2, 9), np.array([1, 2], ints), keepdims=0)
    case("no dimensions kept", kind, IMAGE, np.array([1], ints), keepdims=0)
case("attribute", "Pad", IMAGE, opset=10, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5)
case("input", "Pad", IMAGE, np.array([0, 0, 1, 2, 0, 0, 0, 1], ints), np.float32(0.5))
case("some axes", "Pad", IMAGE, np.array([1, 2, 0, 3], ints), None, np.array([-1, 1], ints))
case("cut", "Pad", IMAGE, np.array([0, 0, -1, 0, 0, 0, 0, -2], ints))
case("", "Flatten", IMAGE)
case("by 0 and -1", "Reshape", IMAGE, np.array([0, 2, -1], ints))
case("by -1 first", "Reshape", IMAGE, np.array([-1, 12, 14], ints))
case("without zeros", "Reshape", IMAGE, np.array([-1, 168], ints), allowzero=1, opset=14)
case("", "Transpose", IMAGE, perm=[0, 2, 3, 1])
case("", "Squeeze", ("n", 1, 5, 1), np.array([3], ints))
case("old", "Squeeze", ("n", 1, 5, 1), opset=11, axes=[1])
case("old", "Unsqueeze", ("n", 5), opset=11, axes=[1, 3])
case("", "Unsqueeze", ("n", 5), np.array([1, -1], ints))
case("", "Concat", IMAGE, axis=1)
case("steps", "Slice", IMAGE, *(np.array(v, ints) for v in ([1, 5], [7, -7], [2, 3], [2, -2])))
case("backwards to the end", "Slice", IMAGE, *(np.array([v], ints) for v in (-1, -(2**63), 2, -1)))
case(
    "backwards from before the first", "Slice", IMAGE, *(np.array([v], ints) for v in (-99, -(2**63), 2, -1))
)
case("beyond the end", "Slice", IMAGE, *(np.array([v], ints) for v in (-99, 2**63 - 1, -1, 3)))
case("without axes", "Slice", ("n", 6), np.array([0, 1], ints), np.array([99, 5], ints))
case("old", "Slice", IMAGE, opset=9, starts=[1], ends=[-1], axes=[2])
case("one", "Gather", IMAGE, np.array(-1, ints), axis=2)
case("several", "Gather", IMAGE, np.array([[0, 2], [1, 1]], ints), axis=1)
case("a list", "Gather", IMAGE, np.array([-1, 0, 2], ints), axis=-1)
case("of more dimensions", "Expand", ("n", 1, 5), np.array([4, 1], ints))
case("", "Expand", ("n", 1, 5), np.array([1, 4, 1], ints))
for kind in ("Add", "Sub", "Mul", "Div"):
    case("constant after", kind, IMAGE, normal(4, 1, 1) + 2)
    case("constant before", kind, ("n", 6), normal(6) + 2, first=1)
    case("one number", kind, IMAGE, np.float32(1.7))
    case("one number before", kind, ("n", 6), np.float32(1.7), first=1)
case("", "Exp", IMAGE)
case("square", "Pow", IMAGE, np.float32(2))
case("whole", "Pow", IMAGE, np.array([3], ints))
case("of two axes", "ReduceProd", IMAGE, np.array([1, 3], ints))
case("with a matrix", "Einsum", ("n", 3, 4), normal(4, 2), equation="nij, jk -> nki")
case("to float32", "Cast", IMAGE, to=1)


def named(rows: Iterable[Operator]) -> list[str]:
    """The cases of some operators; each has one at least, but those in test files of their own."""
    kinds = {row.name for row in rows}
    return [name for name in CASES if name.partition(" ")[0] in kinds]


def check_case(name: str) -> None:
    """Assert that a case computes what onnxruntime does, for two batch sizes, and has a gradient."""
    file, shape = CASES[name]
    graph = read(file)
    for batch in (1, 3):
        x = normal(batch, *shape, seed=batch)
        x = np.where(np.abs(x) < 0.05, np.float32(0.05), x)  # some divide by it
        expected = run(file, x)
        x_torch = torch.from_numpy(x).requires_grad_()
        found = graph.run(x_torch)
        assert tuple(found.shape) == expected.shape
        assert graph.output.shape[1:] == expected.shape[1:]
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=2e-5, atol=2e-5)
        (gradient,) = torch.autograd.grad(found.square().sum(), x_torch)
        assert bool(gradient.isfinite().all())
        assert bool(gradient.any())


def same(file: onnx.ModelProto, *shape: int) -> None:
    """Assert that a file on images of a shape gives what onnxruntime gives, for three batch sizes."""
    graph = read(file)
    for batch in (1, 3, 5):
        x = normal(batch, *shape, seed=batch)
        np.testing.assert_allclose(graph.run(torch.from_numpy(x)).numpy(), run(file, x), rtol=1e-5, atol=1e-6)
