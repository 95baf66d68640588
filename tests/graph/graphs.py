"""Graphs of one operator or a few, and how onnxruntime runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from harden.errors import InputError
from harden.graph import read

Array = NDArray[Any]
Given = Array | np.generic
"""An array, or a number of numpy's as a constant without dimensions."""


def one(
    kind: str,
    shape: tuple[int | str, ...],
    *inputs: Given | None,
    opset: int = 18,
    first: int = 0,
    **attributes: Any,
) -> onnx.ModelProto:
    """The operator on an image of a shape; constants follow it, or come before it up to `first`."""
    names = [f"c{at}" if array is not None else "" for at, array in enumerate(inputs)]
    constants = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in zip(names, inputs, strict=True)
        if name
    ]
    node = helper.make_node(kind, [*names[:first], "x", *names[first:]], ["y"], name="the node", **attributes)
    return model([node], shape, constants, opset)


def model(
    nodes: list[onnx.NodeProto],
    shape: tuple[int | str, ...],
    constants: list[onnx.TensorProto] | None = None,
    opset: int = 18,
    output: str = "y",
) -> onnx.ModelProto:
    """A file from `x` to `y`."""
    port = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, list(shape))
    logits = helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [port], [logits], constants or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def constant(name: str, array: Given) -> onnx.TensorProto:
    """An initialiser."""
    return numpy_helper.from_array(np.asarray(array), name)


def run(file: onnx.ModelProto, x: Array, fused: bool = False) -> Array:
    """What onnxruntime says: node by node, or fused as it does when nobody asks for anything else."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fused else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        file.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: Array = session.run(None, {session.get_inputs()[0].name: x})[0]
    return found


def normal(*shape: int, seed: int = 0) -> Array:
    """Random numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def refusal(given: object) -> str:
    """The error, of one printable line, with which a model that can't be read is refused."""
    with pytest.raises(InputError) as raised:
        read(given)  # type: ignore[arg-type]  # wrong on purpose
    said = str(raised.value)
    assert said.isprintable()
    return said
