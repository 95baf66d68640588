"""Comparisons and choices between values. What is true is 1, what is false 0.

A comparison has the gradient 0, as all that jumps: a file that answers by comparisons alone appears robust
to gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from harden.graph.batch_rules import broadcast, one_value
from harden.graph.operators.operator_row import Operator, always
from harden.graph.operators.reshaping import Reshape, one_free
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError, shapes


class _Indicator(torch.autograd.Function):
    """1 or 0, and a gradient of 0 that reaches what was compared."""

    @staticmethod
    def forward(ctx: Any, true: Tensor, *compared: Tensor) -> Tensor:
        ctx.save_for_backward(*compared)
        return true.to(compared[0].dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *(torch.zeros_like(each) for each in ctx.saved_tensors))


def _indicator(true: Tensor, *compared: Tensor) -> Tensor:
    found: Tensor = _Indicator.apply(true, *compared)
    return found


@final
@dataclass(frozen=True, slots=True)
class Where:
    """x where the condition is not 0, else y."""

    def __call__(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return torch.where(condition != 0, x, y)


@final
@dataclass(frozen=True, slots=True)
class Greater:
    """x > y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _indicator(x > y, x, y)


@final
@dataclass(frozen=True, slots=True)
class GreaterOrEqual:
    """x >= y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _indicator(x >= y, x, y)


@final
@dataclass(frozen=True, slots=True)
class Less:
    """x < y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _indicator(x < y, x, y)


@final
@dataclass(frozen=True, slots=True)
class LessOrEqual:
    """x <= y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _indicator(x <= y, x, y)


@final
@dataclass(frozen=True, slots=True)
class Equal:
    """x = y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _indicator(x == y, x, y)


@final
@dataclass(frozen=True, slots=True)
class And:
    """Both."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _indicator((x != 0) & (y != 0), x)


@final
@dataclass(frozen=True, slots=True)
class Or:
    """One of both at least."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return _indicator((x != 0) | (y != 0), x)


@final
@dataclass(frozen=True, slots=True)
class Not:
    """Logical negation; for numbers, equality to 0."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return _indicator(x == 0, x)


@final
@dataclass(frozen=True, slots=True)
class IsNaN:
    """True if x is no number."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return _indicator(x.isnan(), x)


def _cast(call: NodeView) -> list[Reading]:
    kind = int(call.attributes.get("to", 1))
    if kind == 9:  # bool: what is not 0
        return [((Not(), Not()), (0,))]
    if kind != 1:
        raise UnsupportedError("a cast of images to another type than float32")
    return [(Reshape(one_free(call, list(shapes(call.values[0])))), (0,))]


ROWS: Final = (
    Operator("And", always(And(), 2), {And: broadcast}),
    Operator("Cast", _cast),
    Operator("Equal", always(Equal(), 2), {Equal: broadcast}),
    Operator("Greater", always(Greater(), 2), {Greater: broadcast}),
    Operator("GreaterOrEqual", always(GreaterOrEqual(), 2), {GreaterOrEqual: broadcast}),
    Operator("IsNaN", always(IsNaN(), 1), {IsNaN: one_value}),
    Operator("Less", always(Less(), 2), {Less: broadcast}),
    Operator("LessOrEqual", always(LessOrEqual(), 2), {LessOrEqual: broadcast}),
    Operator("Not", always(Not(), 1), {Not: one_value}),
    Operator("Or", always(Or(), 2), {Or: broadcast}),
    Operator("Where", always(Where(), 3), {Where: broadcast}),
)
