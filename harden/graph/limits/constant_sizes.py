"""Sizes of folded constants, inferred before they are computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import onnx
from onnx import defs, helper, numpy_helper, shape_inference

from harden.graph.reading.known_values import Array
from harden.system.size_limits import TENSOR_BYTES

_SHOWN: Final = 1024
"""Numbers of an input up to which their values are read; sizes and repeats are few."""


def check_outputs(node: onnx.NodeProto, arrays: Sequence[Array], opset: int) -> None:
    """Refuse a node whose outputs, as ONNX's own inference of shapes gives them, are too large to be made.

    Args:
        node: any.
        arrays: its inputs, those that are given.
        opset: of ONNX's own operators.

    Raises:
        InputError: an output has more than `TENSOR_BYTES`.
    """
    for output, kind in _inferred(node, arrays, opset).items():
        shape = kind.tensor_type.shape
        if not kind.tensor_type.HasField("shape") or any(not one.HasField("dim_value") for one in shape.dim):
            continue
        width = _width(kind.tensor_type.elem_type)
        size = width * math.prod(one.dim_value for one in shape.dim)
        TENSOR_BYTES.check(f"the constant {output[:80]!r}, which {node.op_type} makes,", size)


def _inferred(node: onnx.NodeProto, arrays: Sequence[Array], opset: int) -> dict[str, onnx.TypeProto]:
    names = [name for name in node.input if name]
    kinds, values = {}, {}
    for name, array in zip(names, arrays, strict=True):
        try:
            element = helper.np_dtype_to_tensor_dtype(array.dtype)
        except (KeyError, ValueError):
            return {}
        kinds[name] = helper.make_tensor_type_proto(element, array.shape)
        if array.size <= _SHOWN:
            values[name] = numpy_helper.from_array(array, name)
    try:
        schema = defs.get_schema(node.op_type, opset, "")
        found: dict[str, onnx.TypeProto] = shape_inference.infer_node_outputs(
            schema, node, kinds, values, opset_imports=[helper.make_opsetid("", opset)]
        )
    except Exception:  # onnx raises its own for inputs that do not fit; the error of computing them says more
        return {}
    return found


def _width(element: int) -> int:
    try:
        return helper.tensor_dtype_to_np_dtype(element).itemsize
    except (KeyError, TypeError):
        return 1
