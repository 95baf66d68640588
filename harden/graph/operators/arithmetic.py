"""Arithmetic of two values with numpy's broadcasting, and elementary functions of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from harden.graph.batch_rules import broadcast, one_value
from harden.graph.operators.operator_row import Operator, always
from harden.graph.reading.known_values import KnownValue
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError


@final
@dataclass(frozen=True, slots=True)
class Add:
    """x + y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x + y


@final
@dataclass(frozen=True, slots=True)
class Mask:
    """x + y, y a constant that is minus infinity in places: which attention excludes."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x + y


@final
@dataclass(frozen=True, slots=True)
class Sub:
    """x - y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x - y


@final
@dataclass(frozen=True, slots=True)
class Mul:
    """x y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x * y


@final
@dataclass(frozen=True, slots=True)
class Div:
    """x / y."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Shapes that broadcast."""
        return x / y


@final
@dataclass(frozen=True, slots=True)
class Neg:
    """-x."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return -x


@final
@dataclass(frozen=True, slots=True)
class Abs:
    """The absolute value."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.abs()


@final
@dataclass(frozen=True, slots=True)
class Erf:
    """The error function."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.erf(x)


@final
@dataclass(frozen=True, slots=True)
class Exp:
    """The exponential."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.exp()


@final
@dataclass(frozen=True, slots=True)
class Log:
    """The natural logarithm."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.log()


@final
@dataclass(frozen=True, slots=True)
class Sqrt:
    """The square root."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.sqrt()


@final
@dataclass(frozen=True, slots=True)
class Pow:
    """x to a constant power."""

    exponent: float

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x**self.exponent


@final
@dataclass(frozen=True, slots=True)
class Reciprocal:
    """1 / x."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.reciprocal()


@final
@dataclass(frozen=True, slots=True)
class Sign:
    """-1, 0 or 1."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.sign()


def _add(call: NodeView) -> list[Reading]:
    known = [array for value in call.values if isinstance(value, KnownValue) for array in value.arrays]
    finite = all(bool(np.isfinite(array).all()) for array in known if array.dtype.kind == "f")
    return [(Add() if finite else Mask(), (0, 1))]


def _pow(call: NodeView) -> list[Reading]:
    if call.constant(1).ndim > call.rank:
        raise UnsupportedError("an exponent of more dimensions than the value")
    return [(Pow(call.scalar(1)), (0,))]


ROWS: Final = (
    Operator("Abs", always(Abs(), 1), {Abs: one_value}),
    Operator("Add", _add, {Add: broadcast, Mask: broadcast}),
    Operator("Div", always(Div(), 2), {Div: broadcast}),
    Operator("Erf", always(Erf(), 1), {Erf: one_value}),
    Operator("Exp", always(Exp(), 1), {Exp: one_value}),
    Operator("Log", always(Log(), 1), {Log: one_value}),
    Operator("Mul", always(Mul(), 2), {Mul: broadcast}),
    Operator("Neg", always(Neg(), 1), {Neg: one_value}),
    Operator("Pow", _pow, {Pow: one_value}),
    Operator("Reciprocal", always(Reciprocal(), 1), {Reciprocal: one_value}),
    Operator("Sign", always(Sign(), 1), {Sign: one_value}),
    Operator("Sqrt", always(Sqrt(), 1), {Sqrt: one_value}),
    Operator("Sub", always(Sub(), 2), {Sub: broadcast}),
)
