"""Every operator that docs/bounds.md lists as bounded is bounded, and the runtime stays within its bounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.bounds import Climb, Method, Program, Region, certify
from harden.bounds.crown import relaxed
from harden.graph import read
from harden.graph.converters import CONVERTERS
from harden.threats import Linf
from tests.bounds.networks import LEVELS, runtime
from tests.graph.graphs import Given, constant, normal

PAGE = Path(__file__).parents[2] / "docs" / "bounds.md"
IMAGE = (2, 4, 4)
ints = np.int64
OTHER = np.array("another value that depends on the image")
Case = tuple[tuple[int, ...], list[Given | None], dict[str, Any]]
CASES: dict[str, list[Case]] = {}


def case(kind: str, *inputs: Given | None, shape: tuple[int, ...] = IMAGE, **attributes: Any) -> None:
    """A layer on images of a shape; constants follow the image."""
    CASES.setdefault(kind, []).append((shape, list(inputs), attributes))


positive = np.abs(normal(2)) + np.float32(0.3)
case("Gemm", normal(5, 6), normal(5), transB=1, alpha=0.5, beta=2.0, shape=(6,))
case("MatMul", normal(4, 3))
case("Conv", normal(3, 2, 3, 3), normal(3), pads=[1, 1, 1, 1])
case("Conv", normal(4, 1, 2), normal(4), group=2, dilations=[2], strides=[2], shape=(2, 9))
case("Conv", normal(2, 2, 2, 2, 2), shape=(2, 3, 4, 3))
case("BatchNormalization", positive, normal(2), normal(2, seed=1), positive[::-1].copy())
for kind in ("Add", "Sub", "Mul", "Div"):
    case(kind, normal(2, 1, 4) + np.float32(3))
for kind in ("Add", "Sub"):
    case(kind, OTHER)
for kind in ("Neg", "Relu", "LeakyRelu", "Abs", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu", "Erf"):
    case(kind)
case("PRelu", np.array([0.3], np.float32))
case("Clip", np.float32(0.3), np.float32(0.6))
case("Clip", None, np.float32(0.6))
case("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
case("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
case("AveragePool", kernel_shape=[2], ceil_mode=1, strides=[2], shape=(2, 5))
case("GlobalAveragePool")
case("GlobalMaxPool")
for kind in ("ReduceMean", "ReduceSum"):
    case(kind, np.array([2, -1], ints), keepdims=0)
    case(kind, np.array([1, 2, 3], ints), keepdims=0)  # nothing is left but the batch
case("Pad", np.array([0, 0, 1, 2, 0, 0, 0, -1], ints), np.float32(0.5))
case("Flatten")
case("Reshape", np.array([0, 4, -1], ints))
case("Transpose", perm=[0, 2, 3, 1])
case("Squeeze", np.array([2], ints), shape=(3, 1, 4))
case("Unsqueeze", np.array([1, -1], ints))
case("Identity")
case("Dropout")
case("Concat", OTHER, axis=1)
case("Split", axis=1, num_outputs=2)
case("Slice", np.array([3], ints), np.array([-9], ints), np.array([2], ints), np.array([-2], ints))
case("Gather", np.array([[1, 0], [0, 0]], ints), axis=1)
case("Expand", np.array([1, 3, 1, 1], ints), shape=(1, 4, 4))  # grey to colour
case("Expand", np.array([1, 3, 4, 4], ints), shape=(3, 1, 4))  # a row
case("Expand", np.array([1, 2, 4, 4], ints))  # the same size
case("Expand", np.array([1], ints))
case("Cast", to=1)


def listed(row: str) -> set[str]:
    """The ONNX operators that a row of the table names."""
    line = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| {row}"))
    return {word for word in re.findall(r"\b[A-Z][A-Za-z0-9]+\b", line) if onnx.defs.has(word)}


def network(kind: str, number: int) -> onnx.ModelProto:
    """The layer behind an affine one, from which values below 0 come, and before a dense one."""
    shape, inputs, attributes = CASES[kind][number]
    named = {f"c{at}": given for at, given in enumerate(inputs) if given is not None and given is not OTHER}
    names = ["o" if given is OTHER else "" if given is None else f"c{at}" for at, given in enumerate(inputs)]
    outputs = ["l", "unused"] if kind == "Split" else ["l"]
    nodes = [
        helper.make_node("Mul", ["image", "three"], ["wide"]),
        helper.make_node("Sub", ["wide", "shift"], ["m"]),
        helper.make_node("Relu", ["m"], ["o"]),
        helper.make_node(kind, ["m", *names], outputs, **attributes),
        helper.make_node("Reshape", ["l", "rows"], ["f"]),
    ]
    named |= {
        "three": np.float32(3),
        "shift": normal(*shape) + np.float32(1),
        "rows": np.array([0, -1], ints),
    }
    width = runtime(file(nodes, shape, named, "f"))(np.zeros((1, *shape), np.float32)).shape[1]
    dense = helper.make_node("MatMul", ["f", "dense"], ["y"])
    return file([*nodes, dense], shape, named | {"dense": normal(width, 3)}, "y")


def file(
    nodes: list[onnx.NodeProto], shape: tuple[int, ...], named: dict[str, Given], output: str
) -> onnx.ModelProto:
    """From `image` to an output."""
    port = helper.make_tensor_value_info("image", 1, ["n", *shape])
    last = helper.make_tensor_value_info(output, 1, None)
    graph = helper.make_graph(nodes, "g", [port], [last], [constant(*each) for each in named.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_the_page_and_the_code_name_the_same_operators() -> None:
    assert listed("read, run and differentiated") == set(CONVERTERS)
    assert listed("bounded") | listed("not bounded") == set(CONVERTERS)
    assert not listed("bounded") & listed("not bounded")
    assert set(CASES) == listed("bounded")


@pytest.mark.parametrize(("kind", "number"), [(kind, at) for kind in CASES for at in range(len(CASES[kind]))])
def test_a_listed_operator_is_bounded_and_the_runtime_stays_inside(kind: str, number: int) -> None:
    model = network(kind, number)
    program, shape = Program.of(read(model)), CASES[kind][number][0]
    image = torch.rand(2, *shape, generator=torch.Generator().manual_seed(number))
    threat = Linf("1/20")
    noise = torch.rand(400, *shape, generator=torch.Generator().manual_seed(number)) * 2 - 1
    noise[:200] = noise[:200].sign()
    runs = [runtime(model, level) for level in LEVELS]
    labels = torch.from_numpy(runs[0](image.numpy()).argmax(1))
    with torch.no_grad():
        found = relaxed(program, Region.around(image, threat))
    for method in (Method(climb=None), Method(climb=Climb(steps=2))):
        margins = certify(program, image, labels, threat, method).margins
        for at in range(len(image)):
            around = image[at].expand(len(noise), *shape).contiguous()
            points = around + float(threat.eps) * noise
            threat.project_(points, around)
            low, high = (end[at].numpy() for end in found.intervals[program.output])
            for run in runs:
                logits = run(points.numpy()).astype(np.float64)
                assert (logits >= low).all()
                assert (logits <= high).all()
                right = logits[:, [int(labels[at])]]
                others = np.delete(logits, int(labels[at]), 1)
                assert float((right - others).min()) >= float(margins[at])
