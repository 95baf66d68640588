"""Roundings behind a folded constant, by which it may differ from the one that a runtime computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harden.graph.reading.known_values import Array

MOST_ROUNDINGS: Final = 1
"""Float32 operations in a row that every runtime rounds alike; of two, a fused multiply-add rounds one."""

ANY: Final = 1000
"""More than are ever allowed: a sum whose order is free, or a function that runtimes approximate."""

_MOVING: Final = frozenset(
    {
        "Compress", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand", "EyeLike",
        "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "OneHot", "Pad", "Reshape",
        "ScatterElements", "ScatterND", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
        "Transpose", "Trilu", "Unsqueeze", "Where",
        # One of the values that come in, or its absolute value or negative.
        "Abs", "Clip", "Max", "MaxPool", "Min", "Neg", "ReduceMax", "ReduceMin", "Relu", "Sign",
    }
)  # fmt: skip
_ROUNDED_ONCE: Final = frozenset({"Add", "DequantizeLinear", "Div", "Mul", "Sqrt", "Sub"})
"""Operations that IEEE 754 defines to the last bit; a difference of integers is exact."""


def roundings(kind: str, before: Sequence[int], given: Sequence[Array], found: Sequence[Array]) -> int:
    """Roundings in a row behind a folded value, `ANY` if runtimes need not agree on it.

    Args:
        kind: the ONNX operator.
        before: roundings behind its inputs.
        given: the inputs.
        found: the outputs.
    """
    so_far = max(before, default=0)
    if kind in _MOVING or all(array.dtype.kind in "iub" for array in (*given, *found)):
        return so_far
    if kind == "Cast":
        widened = found[0].dtype.kind == "f" and found[0].dtype.itemsize >= given[0].dtype.itemsize
        return so_far if widened else so_far + 1
    return so_far + 1 if kind in _ROUNDED_ONCE else ANY
