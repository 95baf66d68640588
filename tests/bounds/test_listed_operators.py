"""Every operator that docs/bounds.md lists as bounded is bounded, and the runtime stays within its bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from harden.bounds import Method, Program, Region, SlopeAscent, certify
from harden.bounds.crown.intermediate_bounds import relax
from harden.graph import read
from harden.graph.operator_table import OPERATORS
from harden.threats import Linf
from tests.bounds.networks import LEVELS, runtime
from tests.graph.graphs import Given, constant, normal

PAGE = Path(__file__).parents[2] / "docs" / "bounds.md"
IMAGE = (2, 4, 4)
ints = np.int64
OTHER = np.array("another value that depends on the image")
CASES: dict[str, list[Case]] = {}


@dataclass(frozen=True)
class Case:
    """A layer on images of a shape; constants follow the image, or come before it up to `first`."""

    shape: tuple[int, ...]
    inputs: list[Given | None]
    attributes: dict[str, Any]
    opset: int
    first: int

    def nodes(self, kind: str) -> list[onnx.NodeProto]:
        """From `m`, and `o` where another value is asked for, to `l`."""
        names = [
            "o" if given is OTHER else "" if given is None else f"c{at}"
            for at, given in enumerate(self.inputs)
        ]
        names.insert(self.first, "m")
        if kind != "GatherND":
            outputs = ["l", "unused"] if kind == "Split" else ["l"]
            return [helper.make_node(kind, names, outputs, **self.attributes)]
        # As torch exports it: what is indexed comes first, the batch behind it.
        return [
            helper.make_node("Transpose", ["m"], ["t"], perm=[2, 3, 0, 1]),
            helper.make_node(kind, ["t", *names[1:]], ["g"], **self.attributes),
            helper.make_node("Transpose", ["g"], ["l"], perm=[1, 2, 0]),
        ]


def case(
    kind: str,
    *inputs: Given | None,
    shape: tuple[int, ...] = IMAGE,
    opset: int = 20,
    first: int = 0,
    **attributes: Any,
) -> None:
    """One more."""
    CASES.setdefault(kind, []).append(Case(shape, list(inputs), attributes, opset, first))


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
for slope in (0.3, -0.5, 1.0, 4.0):
    case("PRelu", np.array([slope], np.float32))
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
case("ConvTranspose", normal(2, 3, 3, 3), normal(3), strides=[2, 2], pads=[1, 0, 1, 2], output_padding=[1, 0])
case("ConvTranspose", normal(4, 2, 2), group=2, dilations=[2], shape=(4, 5))
for kind in ("Sum", "Mean", "Max", "Min"):
    case(kind, OTHER, normal(2, 1, 4))
    case(kind, OTHER)
case("Max", np.float32(0.2))
case("Min", np.float32(0.2), np.array([0.4, 0.1, 0.3, -0.1], np.float32))
case("PRelu", np.array([0.5, -0.3, 1.7, 0.0], np.float32))
case("PRelu", normal(2, 1, 1) * np.float32(2))
for kind in ("Elu", "Celu"):
    case(kind)
    case(kind, alpha=0.3)
    case(kind, alpha=3.0)
for kind in ("Selu", "Mish", "Softplus", "Softsign"):
    case(kind)
case("ReduceMax", np.array([2, 3], ints), keepdims=0)
case("ReduceMin", np.array([1, 3], ints))
case("ReduceL1", np.array([1], ints))
case("CumSum", np.array(2, ints), exclusive=1, reverse=1)
for mode in ("reflect", "edge", "wrap"):
    case("Pad", np.array([0, 0, 1, 2, 0, 0, 0, 3], ints), mode=mode)
for mode in ("nearest", "linear"):
    case("Resize", None, np.array([1, 1, 2, 2], np.float32), mode=mode)
case("Resize", None, None, np.array([2, 7], ints), axes=[2, 3], mode="nearest")
case("Upsample", np.array([1, 1, 2, 2], np.float32), mode="linear", opset=9)
case("DepthToSpace", blocksize=2, shape=(8, 2, 3))
case("SpaceToDepth", blocksize=2)
case("Tile", np.array([1, 2, 1, 3], ints))
case("Trilu", np.array(1, ints), upper=1)
case("GatherND", np.array([[0, 1], [3, 2], [1, 1]], ints))
case("Where", np.array([True, False, False, True]), OTHER, first=1)
case("Where", np.array([True, False, False, True]), np.float32(0.5), first=1)


def listed(row: str) -> set[str]:
    """The ONNX operators that a row of the table names."""
    line = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| {row}"))
    return {word for word in re.findall(r"\b[A-Z][A-Za-z0-9]+\b", line) if onnx.defs.has(word)}


def network(kind: str, case: Case) -> onnx.ModelProto:
    """The layer behind an affine one, from which values below 0 come, and before a dense one."""
    named = {
        f"c{at}": given for at, given in enumerate(case.inputs) if given is not None and given is not OTHER
    }
    nodes = [
        helper.make_node("Mul", ["image", "three"], ["wide"]),
        helper.make_node("Sub", ["wide", "shift"], ["m"]),
        helper.make_node("Relu", ["m"], ["o"]),
        *case.nodes(kind),
        helper.make_node("Reshape", ["l", "rows"], ["f"]),
    ]
    named |= {"three": np.float32(3), "shift": normal(*case.shape) + np.float32(1)}
    named["rows"] = np.array([0, -1], ints)
    part = file(nodes, case, named, "f")
    width = runtime(part)(np.zeros((1, *case.shape), np.float32)).shape[1]
    dense = helper.make_node("MatMul", ["f", "dense"], ["y"])
    return file([*nodes, dense], case, named | {"dense": normal(width, 3)}, "y")


def file(nodes: list[onnx.NodeProto], case: Case, named: dict[str, Given], output: str) -> onnx.ModelProto:
    """From `image` to an output."""
    port = helper.make_tensor_value_info("image", 1, ["n", *case.shape])
    last = helper.make_tensor_value_info(output, 1, None)
    graph = helper.make_graph(nodes, "g", [port], [last], [constant(*each) for each in named.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=9)


def test_the_page_and_the_code_name_the_same_operators() -> None:
    assert listed("read, run and differentiated") == set(OPERATORS)
    assert listed("bounded") | listed("not bounded") == set(OPERATORS)
    assert not listed("bounded") & listed("not bounded")
    assert set(CASES) == listed("bounded")


@pytest.mark.parametrize(("kind", "number"), [(kind, at) for kind in CASES for at in range(len(CASES[kind]))])
def test_a_listed_operator_is_bounded_and_the_runtime_stays_inside(kind: str, number: int) -> None:
    shape, model = CASES[kind][number].shape, network(kind, CASES[kind][number])
    program = Program.of(read(model))
    image = torch.rand(2, *shape, generator=torch.Generator().manual_seed(number))
    threat = Linf("1/20")
    noise = torch.rand(400, *shape, generator=torch.Generator().manual_seed(number)) * 2 - 1
    noise[:200] = noise[:200].sign()
    runs = [runtime(model, level) for level in LEVELS]
    labels = torch.from_numpy(runs[0](image.numpy()).argmax(1))
    with torch.no_grad():
        found = relax(program, Region.around(image, threat))
    for method in (Method(climb=None), Method(climb=SlopeAscent(steps=2))):
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
