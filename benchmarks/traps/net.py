"""Builds the small ONNX graphs in which the traps are placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
OPSET: Final = 18
COPIES: Final = 16
"""Components of the selected value, all equal: the block of channels of onnxruntime's NCHWc layout."""


def f32(value: Any) -> Array:
    """A float32 array; what float32 does not hold becomes infinite or 0 without a warning."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(value, dtype=np.float64).astype(np.float32)


def i64(*values: int) -> Array:
    """An int64 vector."""
    return np.array(values, dtype=np.int64)


@final
class Net:
    """A graph under construction."""

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str | Array, outputs: int = 1, **attributes: Any) -> str:
        """Append a node and return the name of its (first) output."""
        return self.several(kind, *inputs, outputs=outputs, **attributes)[0]

    def several(
        self, kind: str, *inputs: str | Array, outputs: int = 1, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Append a node and return the names of all its outputs."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        made = [f"v{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, domain=domain, **attributes))
        return made

    def constant(self, array: Array) -> str:
        """An initialiser."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def image(self, value: str, channels: int = COPIES, height: int = 1, width: int = 1) -> str:
        """Reshape (N, C H W) to (N, C, H, W)."""
        return self.add("Reshape", value, i64(0, channels, height, width))

    def flat(self, value: str, size: int = COPIES) -> str:
        """Reshape to (N, size)."""
        return self.add("Reshape", value, i64(0, size))

    def scaled(self, value: str, *factors: float) -> str:
        """Multiply by one constant after the other; 1 is left out."""
        for factor in factors:
            if factor != 1:
                value = self.add("Mul", value, f32(factor))
        return value

    def model(self, input_shape: Sequence[int | str], output: str, classes: int) -> onnx.ModelProto:
        """The file, checked."""
        image = helper.make_tensor_value_info("image", 1, list(input_shape))
        logits = helper.make_tensor_value_info("logits", 1, ["batch", classes])
        self.nodes.append(helper.make_node("Identity", [output], ["logits"]))
        graph = helper.make_graph(self.nodes, "trap", [image], [logits], self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        found = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        onnx.checker.check_model(found)
        return found
