"""Small networks as ONNX files, made without an exporter, and how onnxruntime runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from harden.bounds import Method, Program, certify
from harden.graph import read
from harden.threats import Linf

Array = NDArray[np.float32]
LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)


class Builder:
    """Adds one layer after the other; each takes the last value unless told otherwise."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.shape = shape
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = "image"

    def add(self, kind: str, *inputs: str | Array, after: str | None = None, **attributes: Any) -> str:
        """A node on the last value, or on `after`, and on what is given."""
        names = [self.last if after is None else after]
        for given in inputs:
            names.append(given if isinstance(given, str) else self.constant(given))
        self.last = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [self.last], **attributes))
        return self.last

    def constant(self, array: Array | NDArray[np.int64]) -> str:
        """An initialiser."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        """Random weights."""
        return (scale * self.rng.normal(size=shape)).astype(np.float32)

    def dense(self, inputs: int, outputs: int) -> str:
        """A layer of weights with variance 1 / inputs."""
        weight = self.normal(inputs, outputs, scale=inputs**-0.5)
        return self.add("Gemm", weight, self.normal(outputs, scale=0.1))

    def conv(self, inputs: int, outputs: int, kernel: int = 3, **attributes: Any) -> str:
        """A two-dimensional convolution with a bias."""
        group = int(str(attributes.get("group", 1)))
        weight = self.normal(
            outputs, inputs // group, kernel, kernel, scale=(inputs * kernel**2 / group) ** -0.5
        )
        return self.add("Conv", weight, self.normal(outputs, scale=0.1), **attributes)

    def batch_norm(self, channels: int) -> str:
        """Stored statistics and weights, none of them trivial."""
        positive = np.abs(self.normal(channels)) + np.float32(0.2)
        statistics = (
            positive,
            self.normal(channels),
            self.normal(channels, scale=0.3),
            positive[::-1].copy(),
        )
        return self.add("BatchNormalization", *statistics)

    def model(self) -> onnx.ModelProto:
        """The file."""
        image = helper.make_tensor_value_info("image", 1, ["batch", *self.shape])
        logits = helper.make_tensor_value_info(self.last, 1, None)
        graph = helper.make_graph(self.nodes, "net", [image], [logits], self.constants)
        found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return onnx.shape_inference.infer_shapes(found)


def runtime(
    model: onnx.ModelProto, level: onnxruntime.GraphOptimizationLevel = LEVELS[-1], threads: int = 1
) -> Callable[[Array], Array]:
    """The file as onnxruntime runs it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(x: Array) -> Array:
        found: Array = session.run(None, {"image": np.ascontiguousarray(x, dtype=np.float32)})[0]
        return found

    return run


def dense_net(seed: int) -> Builder:
    """6 -> 16 -> 16 -> 4."""
    net = Builder((6,), seed)
    for inputs, outputs in ((6, 16), (16, 16)):
        net.dense(inputs, outputs)
        net.add("Relu")
    net.dense(16, 4)
    return net


def conv_net(seed: int) -> Builder:
    """Two convolutions, one of them strided, BatchNorms, a dense layer."""
    net = Builder((2, 6, 6), seed)
    net.conv(2, 4, pads=[1, 1, 1, 1])
    net.batch_norm(4)
    net.add("Relu")
    net.conv(4, 6, strides=[2, 2], pads=[0, 1, 1, 0])
    net.add("Relu")
    net.add("Flatten")
    net.dense(6 * 9, 3)
    return net


def residual_net(seed: int) -> Builder:
    """A block with a shortcut of its own stride, grouped convolutions, averaging."""
    net = Builder((2, 6, 6), seed)
    start = net.conv(2, 4, pads=[1, 1, 1, 1])
    net.add("Relu")
    net.conv(4, 4, pads=[1, 1, 1, 1], group=2)
    net.batch_norm(4)
    net.add("Relu")
    branch = net.conv(4, 4, pads=[1, 1, 1, 1], dilations=[1, 1])
    net.last = start
    net.conv(4, 4, kernel=1)
    net.add("Add", branch)
    net.add("Relu")
    net.add("GlobalAveragePool")
    net.add("Flatten")
    net.dense(4, 3)
    return net


def pooling_net(seed: int) -> Builder:
    """Overlapping maxima with padding, then means."""
    net = Builder((2, 7, 7), seed)
    net.conv(2, 4, pads=[1, 1, 1, 1])
    net.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.conv(4, 4)
    net.add("Relu")
    net.add("AveragePool", kernel_shape=[2, 2])
    net.add("Flatten")
    net.dense(4, 3)
    return net


def smooth_net(kind: str) -> Callable[[int], Builder]:
    """Two layers of a function of one value."""

    def build(seed: int) -> Builder:
        net = Builder((5,), seed)
        for inputs, outputs in ((5, 12), (12, 12)):
            net.dense(inputs, outputs)
            net.add(kind)
        net.dense(12, 3)
        return net

    return build


KINDS = {
    "dense": dense_net,
    "conv": conv_net,
    "residual": residual_net,
    "pooling": pooling_net,
    **{
        kind.lower(): smooth_net(kind)
        for kind in ("Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "HardSwish", "Erf", "Abs")
    },
}


def check_trap(built: Builder, *, falls: bool, margin: bool = True) -> None:
    """Assert that a network of two logits is not certified at ones, where its first is ahead in real numbers.

    Args:
        built: the network.
        falls: whether onnxruntime answers otherwise at some level of graph optimisation, which is checked.
        margin: whether bounds of the real-number network are asked to show that it is ahead.
    """
    model = built.model()
    program = Program.of(read(model))
    x, y, threat = torch.ones(1, *built.shape), torch.zeros(1, dtype=torch.int64), Linf("1/1000000000")
    if margin:
        real = certify(program, x, y, threat, Method(climb=None, rounding=False))
        assert bool(real.certified), "in real numbers there is a margin"
    assert not bool(certify(program, x, y, threat).certified)
    if falls:
        logits = [runtime(model, level)(x.numpy())[0] for level in LEVELS]
        assert any(not each[0] > each[1] for each in logits)
