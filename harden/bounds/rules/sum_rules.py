"""The rules of sums, differences, means, and products with constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import Size, WindowCoefficients
from harden.bounds.float_rounding import SMALLEST_32
from harden.bounds.rules.affine_map import Affine, LinearMap
from harden.bounds.rules.linear_layers import scaled
from harden.bounds.rules.rule_row import AnyBoundRule, BoundRule, OperationInputs
from harden.graph.operators.arithmetic import Add, Div, Mul, Neg, Sub
from harden.graph.operators.reductions import CumSum, ReduceMean, ReduceSum


def unweighted(
    linear: LinearMap, spread: LinearMap, terms: int, inputs: OperationInputs, signs: tuple[float, ...] = ()
) -> Affine:
    """A linear map without an offset, with weights of 1 at most.

    Args:
        linear: the map.
        spread: with the magnitudes of its weights.
        terms: values that each output sums; 0 where they are only moved.
        inputs: what is known of its inputs.
        signs: where the map does no more than multiply each input by a sign and add them up, those.
    """
    through = partial(_signed, signs) if signs and _elementwise(inputs.sizes, inputs.size) else None
    zeros = inputs.zeros
    return Affine(linear, spread, zeros, zeros, terms, 1.0, inputs.sizes, inputs.size, through=through)


def average(operation: Callable[..., Tensor], terms: int, inputs: OperationInputs) -> Affine:
    """A mean of so many terms."""
    found = unweighted(operation, operation, terms, inputs)
    return replace(found, factor=1 / max(terms, 1))  # the sum may overflow where the mean does not


def _negative(x: Tensor) -> Tensor:
    return -x


def _same(x: Tensor) -> Tensor:
    return x


def _neg(operation: Neg, inputs: OperationInputs) -> Affine:
    return unweighted(_negative, _same, 1, inputs, (-1.0,))


def _add(operation: Add, inputs: OperationInputs) -> Affine | None:
    match inputs.constants:
        case (None, None):
            return unweighted(torch.add, torch.add, 2, inputs, (1.0, 1.0))
        case (Tensor() as offset, None) | (None, Tensor() as offset):
            return _shifted(1.0, offset, inputs)
    return None


def _sub(operation: Sub, inputs: OperationInputs) -> Affine | None:
    match inputs.constants:
        case (None, None):
            return unweighted(torch.sub, torch.add, 2, inputs, (1.0, -1.0))
        case (None, Tensor() as offset):
            return _shifted(1.0, -offset, inputs)
        case (Tensor() as offset, None):
            return _shifted(-1.0, offset, inputs)
    return None


def _mul(operation: Mul, inputs: OperationInputs) -> Affine | None:
    match inputs.constants:
        case (Tensor() as factor, None) | (None, Tensor() as factor):
            return scaled(factor, inputs.zeros, inputs.zeros, inputs.sizes[0], inputs.size)
    return None


def _div(operation: Div, inputs: OperationInputs) -> Affine | None:
    match inputs.constants:
        case (None, Tensor() as divisor) if bool((divisor.abs() >= SMALLEST_32).all()):
            # What divides by a denormal divides by 0 where those are flushed.
            return scaled(1 / divisor, inputs.zeros, inputs.zeros, inputs.sizes[0], inputs.size)
    return None


def _reduce_sum(operation: ReduceSum, inputs: OperationInputs) -> Affine:
    return unweighted(operation, operation, _reduced(operation.axes, inputs.sizes[0]), inputs)


def _reduce_mean(operation: ReduceMean, inputs: OperationInputs) -> Affine:
    return average(operation, _reduced(operation.axes, inputs.sizes[0]), inputs)


def _reduced(axes: tuple[int, ...], size: Size) -> int:
    return math.prod((1, *size)[axis] for axis in axes)


def _cum_sum(operation: CumSum, inputs: OperationInputs) -> Affine:
    return unweighted(operation, operation, inputs.sizes[0][operation.axis - 1], inputs)


def _shifted(slope: float, offset: Tensor, inputs: OperationInputs) -> Affine:
    """An offset, broadcast, plus x or -x."""
    sizes, size = inputs.sizes, inputs.size
    offset = offset.expand(1, *size)

    def linear(x: Tensor) -> Tensor:
        return (slope * x).expand(len(x), *size)

    def spread(x: Tensor) -> Tensor:
        return x.expand(len(x), *size)

    through = partial(_signed, (slope,)) if _elementwise(sizes, size) else None
    return Affine(linear, spread, offset, offset.abs(), 2, 1.0, sizes, size, through=through)


def _elementwise(sizes: tuple[Size, ...], size: Size) -> bool:
    """True if each element of a map comes from the same place of each input."""
    return len(size) == 3 and all(each == size for each in sizes)


def _signed(signs: tuple[float, ...], window: WindowCoefficients) -> tuple[WindowCoefficients, ...]:
    return tuple(window.with_(sign * window.each) for sign in signs)


ROWS: Final[tuple[AnyBoundRule, ...]] = (
    BoundRule(Add, _add),
    BoundRule(CumSum, _cum_sum),
    BoundRule(Div, _div),
    BoundRule(Mul, _mul),
    BoundRule(Neg, _neg),
    BoundRule(ReduceMean, _reduce_mean),
    BoundRule(ReduceSum, _reduce_sum),
    BoundRule(Sub, _sub),
)
