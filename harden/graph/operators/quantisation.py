"""Rounding to a grid of integers and back, with the gradients that an attack needs.

The gradient of a rounding is 0 almost everywhere, so that a file appears robust to attacks by gradients. Here
the gradient passes straight through where the value lies inside the grid's range (before rounding, half a
step beyond it included, which still rounds into it) and stops where the grid saturates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from harden.graph.batch_rules import constant_weights
from harden.graph.operation_graph import Node
from harden.graph.operators.operator_row import Operator
from harden.graph.reading.known_values import Size
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError

HALF = 0.5


class _StraightThroughRounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, steps: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward((steps >= low - HALF) & (steps <= high + HALF))
        return steps.round().clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None


@final
@dataclass(frozen=True, slots=True)
class QuantizeLinear:
    """clamp(round(x / scale) + zero point, low, high), rounding half to even; integers kept as floats."""

    low: int
    high: int
    axis: int = 1

    def __call__(self, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        """Any shape; scale and zero point of one element, or one for each place along the axis."""
        zero = x.new_zeros(()) if zero_point is None else along(zero_point.to(x.dtype), x, self.axis)
        # The zero point comes after rounding: half to even is not the same on both sides of an odd one.
        steps = x / along(scale, x, self.axis)
        rounded: Tensor = _StraightThroughRounding.apply(steps, self.low - zero, self.high - zero)
        return rounded + zero


@final
@dataclass(frozen=True, slots=True)
class DequantizeLinear:
    """(x - zero point) scale."""

    axis: int = 1

    def __call__(self, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        """Any shape; scale and zero point of one element, or one for each place along the axis."""
        x = x.to(scale.dtype)
        zero = x.new_zeros(()) if zero_point is None else along(zero_point.to(x.dtype), x, self.axis)
        return (x - zero) * along(scale, x, self.axis)


def along(values: Tensor, like: Tensor, axis: int) -> Tensor:
    """One value for each place along an axis, shaped to broadcast."""
    if values.numel() == 1:
        return values.reshape(())
    sizes = [1] * like.dim()
    sizes[axis] = -1
    return values.reshape(sizes)


_KINDS = {0: "uint8", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}
"""Of a grid without a zero point, by ONNX's number."""


_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}


def _quantize(call: NodeView) -> list[Reading]:
    call.only("block_size", 0)
    number = int(call.number("output_dtype", 0))
    kind = str(call.constant(2).dtype) if call.has(2) else _KINDS.get(number, f"type {number}")
    if kind not in _RANGES:
        raise UnsupportedError(f"a grid of {kind}")
    return [(QuantizeLinear(*_RANGES[kind], axis=_channel(call)), call.present)]


def _dequantize(call: NodeView) -> list[Reading]:
    call.only("block_size", 0)
    return [(DequantizeLinear(_channel(call)), call.present)]


def _channel(call: NodeView) -> int:
    if call.constant(1).size == 1:
        return 0
    return call.axis("axis", 1)


def _grid_rows(node: Node, given: Sequence[Size]) -> bool:
    operation = node.operation
    if not isinstance(operation, QuantizeLinear | DequantizeLinear) or not constant_weights(node, given):
        return False
    return operation.axis % len(node.shape) > 0 or all(set(shape) <= {1} for shape in given[1:])


ROWS: Final = (
    Operator("DequantizeLinear", _dequantize, {DequantizeLinear: _grid_rows}),
    Operator("QuantizeLinear", _quantize, {QuantizeLinear: _grid_rows}),
)
