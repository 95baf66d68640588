"""Constant folding: nodes that do not depend on the images are computed once, while the graph is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator

from harden.graph.limits.constant_sizes import check_outputs
from harden.graph.operators.quantisation import DequantizeLinear
from harden.graph.reading.known_values import Array, ComputedValue, KnownValue, Value
from harden.graph.reading.load_model import numbers
from harden.graph.reading.node_view import UnsupportedError
from harden.graph.reading.rounding_count import roundings

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def fold_constants(
    node: onnx.NodeProto, values: Sequence[Value | None], opset: int, batches: int
) -> list[KnownValue] | None:
    """The node's outputs where all that it needs is known; None where it depends on the images.

    ONNX's own reference implementation computes them.

    Raises:
        UnsupportedError: it fails on these inputs.
    """
    if node.op_type in _RANDOM:
        raise UnsupportedError("random numbers")
    if node.op_type == "Dropout" and _drops(values):
        raise UnsupportedError("training_mode=1")
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise UnsupportedError("control flow")
    if node.op_type in ("Shape", "Size"):
        return None if values[0] is None else [_shape(node, values[0])]
    if (
        node.op_type == "CastLike"
        and isinstance(values[0], KnownValue)
        and isinstance(values[1], ComputedValue)
    ):
        # All that depends on the images is float32.
        arrays = tuple(each.astype(np.float32) for each in values[0].arrays)
        return [KnownValue(arrays, values[0].roundings)]
    if any(not isinstance(value, KnownValue) for value in values if value is not None):
        return None
    known = [value for value in values if isinstance(value, KnownValue)]
    if all(value.constant for value in known):
        runs = [_computed(node, [value.arrays[0] for value in known], opset)] * batches
    else:
        runs = [_computed(node, [value.arrays[at] for value in known], opset) for at in range(batches)]
    before, given = [value.roundings for value in known], [value.arrays[0] for value in known]
    behind = roundings(node.op_type, before, given, runs[0])
    return [KnownValue(tuple(arrays), behind) for arrays in zip(*runs, strict=True)]


def _drops(values: Sequence[Value | None]) -> bool:
    mode = values[2] if len(values) > 2 else None
    return isinstance(mode, KnownValue) and bool(mode.arrays[0].any())


def _shape(node: onnx.NodeProto, value: Value) -> KnownValue:
    shapes = [array.shape for array in value.arrays] if isinstance(value, KnownValue) else value.shapes
    ends = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Size":
        return KnownValue(tuple(np.array(math.prod(shape), dtype=np.int64) for shape in shapes))
    part = slice(ends.get("start", 0), ends.get("end"))
    return KnownValue(tuple(np.array(shape[part], dtype=np.int64) for shape in shapes))


def _computed(node: onnx.NodeProto, arrays: list[Array], opset: int) -> list[Array]:
    if node.op_type == "Constant":
        return [_constant(node)]
    if node.op_type == "DequantizeLinear":
        return [_dequantised(node, arrays)]
    check_outputs(node, arrays, opset)
    names = [name for name in node.input if name]
    try:
        given = dict(zip(names, arrays, strict=True))
        ports = [_port(name, array) for name, array in given.items()]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "one", ports, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        found: list[Any] = list(ReferenceEvaluator(model).run(None, given))
    except Exception as error:  # the evaluator raises what numpy and its own operators raise
        raise UnsupportedError(f"constants ({' '.join(str(error).split())[:120]})") from error
    return [np.asarray(each) for each in found]


def _dequantised(node: onnx.NodeProto, arrays: list[Array]) -> Array:
    """Weights as the runtime computes them; the reference implementation knows it only from opset 19 on."""
    given = {attribute.name: attribute.i for attribute in node.attribute}
    if given.get("block_size", 0):
        raise UnsupportedError(f"block_size={given['block_size']}")
    if len(arrays) < 2 or arrays[1].dtype != np.float32:
        raise UnsupportedError("a scale that is not of float32")
    # By way of numpy: torch knows no integers of four bits.
    x, *grid = (torch.from_numpy(array.astype(np.float32)) for array in arrays)
    try:
        found: Array = DequantizeLinear(given.get("axis", 1))(x, *grid).numpy()
    except (IndexError, RuntimeError) as error:
        raise UnsupportedError(f"constants ({' '.join(str(error).split())[:120]})") from error
    return found


def _port(name: str, array: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def _constant(node: onnx.NodeProto) -> Array:
    if len(node.attribute) != 1:
        raise UnsupportedError(f"{len(node.attribute)} attributes")
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numbers(value)
    if attribute.name in ("value_int", "value_ints"):
        return np.array(value, dtype=np.int64)
    if attribute.name in ("value_float", "value_floats"):
        return np.array(value, dtype=np.float32)
    raise UnsupportedError(f"a constant of {attribute.name}")
