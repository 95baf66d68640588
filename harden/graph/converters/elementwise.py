"""Functions of one value, and the four operations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harden.graph.converters.reshape_sizes import reshape
from harden.graph.operations import (
    Abs,
    Add,
    Celu,
    Clip,
    Div,
    Elu,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    LogSoftmax,
    Mask,
    Mish,
    Mul,
    Neg,
    Operation,
    Pow,
    PRelu,
    Reciprocal,
    Relu,
    Selu,
    Sigmoid,
    Sign,
    Softmax,
    Softplus,
    Softsign,
    Sqrt,
    Sub,
    Tanh,
)
from harden.graph.reading.known_values import Known
from harden.graph.reading.node_view import Call, Converter, Reading, UnsupportedError


def _always(operation: Operation, inputs: int) -> Callable[[Call], list[Reading]]:
    def convert(call: Call) -> list[Reading]:
        return [(operation, tuple(range(inputs)))]

    return convert


def _add(call: Call) -> list[Reading]:
    known = [array for value in call.values if isinstance(value, Known) for array in value.arrays]
    finite = all(bool(np.isfinite(array).all()) for array in known if array.dtype.kind == "f")
    return [(Add() if finite else Mask(), (0, 1))]


def _leaky(call: Call) -> list[Reading]:
    return [(LeakyRelu(call.number("alpha", 0.01)), (0,))]


def _prelu(call: Call) -> list[Reading]:
    slopes = call.constant(1)
    one = bool(slopes.size) and bool((slopes == slopes.flat[0]).all()) and slopes.ndim <= call.rank
    if one and 0 <= slopes.flat[0] < 1:
        return [(LeakyRelu(float(slopes.flat[0])), (0,))]
    return [(PRelu(), (0, 1))]


def _elu(call: Call) -> list[Reading]:
    return [(Elu(call.number("alpha", 1)), (0,))]


def _selu(call: Call) -> list[Reading]:
    # Up to opset 6 the defaults were rounded otherwise; float32 holds them alike.
    return [
        (
            Selu(
                call.number("alpha", 1.67326319217681884765625),
                call.number("gamma", 1.05070102214813232421875),
            ),
            (0,),
        )
    ]


def _celu(call: Call) -> list[Reading]:
    return [(Celu(call.number("alpha", 1)), (0,))]


def _clip(call: Call) -> list[Reading]:
    if call.opset < 11:
        ends = [call.number(name, 0) if name in call.attributes else None for name in ("min", "max")]
        low, high = ends
        if low is not None and high is not None and low > high:  # onnxruntime takes them as inputs alone
            raise UnsupportedError(f"ends that cross, {low} and {high}")
    else:
        ends = [call.scalar(at) if call.has(at) else None for at in (1, 2)]
    return [(Clip(*ends), (0,))]


def _hard_sigmoid(call: Call) -> list[Reading]:
    return [(HardSigmoid(call.number("alpha", 0.2), call.number("beta", 0.5)), (0,))]


def _gelu(call: Call) -> list[Reading]:
    kind = call.word("approximate", "none")
    if kind not in ("none", "tanh"):
        raise UnsupportedError(f"approximate={kind}")
    return [(Gelu("tanh" if kind == "tanh" else "none"), (0,))]


def _softmax(call: Call) -> list[Reading]:
    axis = call.axis("axis", -1 if call.opset >= 13 else 1)
    rule = Softmax if call.kind == "Softmax" else LogSoftmax
    if call.opset >= 13 or all(size == 1 for size in call.shape[axis + 1 :]):
        return [(rule(axis), (0,))]
    # Before opset 13 all dimensions from the axis on were one, and all before it another.
    flat = reshape(call, lambda shape: (math.prod(shape[:axis]), math.prod(shape[axis:])))
    return [((flat, rule(1), reshape(call, lambda shape: shape)), (0,))]


def _pow(call: Call) -> list[Reading]:
    if call.constant(1).ndim > call.rank:
        raise UnsupportedError("an exponent of more dimensions than the value")
    return [(Pow(call.scalar(1)), (0,))]


ELEMENTWISE: dict[str, Converter] = {
    "Abs": _always(Abs(), 1),
    "Add": _add,
    "Celu": _celu,
    "Clip": _clip,
    "Div": _always(Div(), 2),
    "Elu": _elu,
    "Erf": _always(Erf(), 1),
    "Exp": _always(Exp(), 1),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _always(HardSwish(), 1),
    "LeakyRelu": _leaky,
    "Log": _always(Log(), 1),
    "LogSoftmax": _softmax,
    "Mish": _always(Mish(), 1),
    "Mul": _always(Mul(), 2),
    "Neg": _always(Neg(), 1),
    "PRelu": _prelu,
    "Pow": _pow,
    "Reciprocal": _always(Reciprocal(), 1),
    "Relu": _always(Relu(), 1),
    "Selu": _selu,
    "Sigmoid": _always(Sigmoid(), 1),
    "Sign": _always(Sign(), 1),
    "Softmax": _softmax,
    "Softplus": _always(Softplus(), 1),
    "Softsign": _always(Softsign(), 1),
    "Sqrt": _always(Sqrt(), 1),
    "Sub": _always(Sub(), 2),
    "Tanh": _always(Tanh(), 1),
}
