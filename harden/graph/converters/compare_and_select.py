"""Comparisons, choices, the largest and the least of several values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harden.graph.converters.reshape_sizes import one_free
from harden.graph.operations import (
    Add,
    And,
    Clip,
    Equal,
    Greater,
    GreaterOrEqual,
    IsNaN,
    Less,
    LessOrEqual,
    MaxPool,
    Neg,
    Not,
    Operation,
    Or,
    ReduceMean,
    ReduceSum,
    Reshape,
    Stack,
    Where,
)
from harden.graph.reading.known_values import Known, Size
from harden.graph.reading.node_view import Call, Converter, Reading, UnsupportedError, shapes


def _always(operation: Operation, inputs: int) -> Callable[[Call], list[Reading]]:
    def convert(call: Call) -> list[Reading]:
        return [(operation, tuple(range(inputs)))]

    return convert


def _common(call: Call) -> list[Size]:
    """The shape to which all inputs broadcast, for each batch size."""
    each = [shapes(value) for value in call.values]
    return [np.broadcast_shapes(*found) for found in zip(*each, strict=True)]


def _extreme(call: Call) -> list[Reading]:
    """The largest or least of several: stacked, then pooled over the stack."""
    values = [at for at, value in enumerate(call.values) if not isinstance(value, Known)]
    rest = [at for at in range(len(call.values)) if at not in values]
    if len(values) == len(rest) == 1 and call.constant(rest[0]).size == 1:
        end = call.scalar(rest[0])
        low, high = (end, None) if call.kind == "Max" else (None, end)
        if call.constant(rest[0]).ndim <= len(shapes(call.values[values[0]])[0]) and math.isfinite(end):
            return [(Clip(low, high), (values[0],))]
    sizes, count = _common(call), len(call.values)
    flat = one_free(call, [(size[0], math.prod(size[1:]), count) for size in sizes])
    pooled: tuple[Operation, ...] = (Reshape(flat), MaxPool((count,), (count,), (0, 0), (1,)))
    pooled = pooled if call.kind == "Max" else (Neg(), *pooled, Neg())
    return [((Stack(), *pooled, Reshape(one_free(call, sizes))), tuple(range(count)))]


def _sum(call: Call) -> list[Reading]:
    inputs = tuple(range(len(call.values)))
    if call.kind == "Sum" and len(inputs) == 2:
        return [(Add(), inputs)]
    axis = len(_common(call)[0])
    rule = ReduceSum if call.kind == "Sum" else ReduceMean
    return [((Stack(), rule((axis,), False)), inputs)]


def _where(call: Call) -> list[Reading]:
    return [(Where(), (0, 1, 2))]


def _cast(call: Call) -> list[Reading]:
    kind = int(call.attributes.get("to", 1))
    if kind == 9:  # bool: what is not 0
        return [((Not(), Not()), (0,))]
    if kind != 1:
        raise UnsupportedError("a cast of images to another type than float32")
    return [(Reshape(one_free(call, list(shapes(call.values[0])))), (0,))]


SELECTING: dict[str, Converter] = {
    "And": _always(And(), 2),
    "Cast": _cast,
    "Equal": _always(Equal(), 2),
    "Greater": _always(Greater(), 2),
    "GreaterOrEqual": _always(GreaterOrEqual(), 2),
    "IsNaN": _always(IsNaN(), 1),
    "Less": _always(Less(), 2),
    "LessOrEqual": _always(LessOrEqual(), 2),
    "Max": _extreme,
    "Mean": _sum,
    "Min": _extreme,
    "Not": _always(Not(), 1),
    "Or": _always(Or(), 2),
    "Sum": _sum,
    "Where": _where,
}
