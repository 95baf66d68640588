"""The rules of sums, means and of what only moves values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import Size, Window
from harden.bounds.float_rounding import SMALLEST_32
from harden.bounds.rules.affine_rules import Affine, Map
from harden.bounds.rules.linear_layers import Given, scaled
from harden.graph.operations import (
    Add,
    AveragePool,
    Concat,
    CumSum,
    Div,
    Expand,
    Gather,
    Interpolate,
    Mul,
    Neg,
    Operation,
    Pad,
    ReduceMean,
    ReduceSum,
    Reshape,
    Slice,
    Stack,
    Sub,
    Transpose,
    Trilu,
    Where,
)


def arithmetic(
    operation: Operation, given: Given, sizes: tuple[Size, ...], size: Size, like: Tensor
) -> Affine | None:
    """Sums and differences of any two; products with a constant, quotients by one; the change of sign."""
    match operation, given:
        case Neg(), _:
            return _unchanged(_negative, _same, 1, sizes, size, like, (-1.0,))
        case Add(), (None, None):
            return _unchanged(torch.add, torch.add, 2, sizes, size, like, (1.0, 1.0))
        case Sub(), (None, None):
            return _unchanged(torch.sub, torch.add, 2, sizes, size, like, (1.0, -1.0))
        case Add(), (Tensor() as offset, None) | (None, Tensor() as offset):
            return _moved(1.0, offset, sizes, size)
        case Sub(), (None, Tensor() as offset):
            return _moved(1.0, -offset, sizes, size)
        case Sub(), (Tensor() as offset, None):
            return _moved(-1.0, offset, sizes, size)
        case Mul(), (Tensor() as factor, None) | (None, Tensor() as factor):
            return scaled(factor, like.new_zeros(1, *size), like.new_zeros(1, *size), sizes[0], size)
        case Div(), (None, Tensor() as divisor) if bool((divisor.abs() >= SMALLEST_32).all()):
            # What divides by a denormal divides by 0 where those are flushed.
            return scaled(1 / divisor, like.new_zeros(1, *size), like.new_zeros(1, *size), sizes[0], size)
    return None


def averages(
    operation: AveragePool | ReduceMean | ReduceSum, sizes: tuple[Size, ...], size: Size, like: Tensor
) -> Affine:
    """Sums and means over windows and axes."""
    if isinstance(operation, AveragePool):
        terms = math.prod(operation.kernel)
    else:
        terms = math.prod((1, *sizes[0])[axis] for axis in operation.axes)
    found = _unchanged(operation, operation, terms, sizes, size, like)
    if not isinstance(operation, ReduceSum):
        found = replace(found, factor=1 / max(terms, 1))  # the sum may overflow where the mean does not
    plain = isinstance(operation, AveragePool) and not operation.ceil_mode and not any(operation.pads)
    if isinstance(operation, AveragePool) and plain and len(size) == 3:
        found = replace(found, through=partial(_averaged, operation, sizes[0], like))
    return found


def moving(
    operation: Operation, given: Given, sizes: tuple[Size, ...], size: Size, like: Tensor
) -> Affine | None:
    """Values that change their place, and constants that come beside them."""
    match operation:
        case Reshape() | Transpose() | Slice() | Gather() | Trilu():
            return _unchanged(operation, operation, 0, sizes, size, like)
        case CumSum(axis=axis):
            return _unchanged(operation, operation, sizes[0][axis - 1], sizes, size, like)
        case Interpolate(exact=True):  # else the shares themselves are rounded
            return _unchanged(operation, operation, 4, sizes, size, like)
        case Stack() | Where() if _chosen(operation, given):
            nothing = [like.new_zeros(1, *each) for each in sizes]
            condition = given[:1] if isinstance(operation, Where) else ()
            zeros = [each if each is None else 0 * each for each in given[len(condition) :]]
            without = _among(operation, [*condition, *zeros])
            return _beside(without, _among(operation, given)(*nothing), sizes, size)
        case Pad(pads=pads):
            return _beside(Pad(pads), operation(like.new_zeros(1, *sizes[0])), sizes, size)
        case Concat():
            without = _filled(operation, [each if each is None else 0 * each for each in given])
            nothing = [like.new_zeros(1, *each) for each in sizes]
            return _beside(without, _filled(operation, given)(*nothing), sizes, size)
        case Expand() if given[0] is not None:  # a constant for each image
            return _beside(partial(_nothing, size), operation(given[0], like.new_zeros(1)), sizes, size)
        case Expand():
            # The second input, which gives the batch's size alone, is the first again.
            return _unchanged(operation, operation, 0, sizes, size, like)
    return None


def _negative(x: Tensor) -> Tensor:
    return -x


def _same(x: Tensor) -> Tensor:
    return x


def _nothing(size: Size, batch: Tensor) -> Tensor:
    return batch.new_zeros(len(batch), *size)


def _chosen(operation: Operation, given: Given) -> bool:
    """Whether it is settled which values are taken, and constants among them are numbers."""
    settled = not isinstance(operation, Where) or given[0] is not None
    return settled and all(bool(each.isfinite().all()) for each in given if each is not None)


def _among(operation: Operation, given: Sequence[Tensor | None]) -> Map:
    """The operation on values alone, its constants broadcast to them."""

    def run(*values: Tensor) -> Tensor:
        rest = iter(values)
        return operation(*[next(rest) if each is None else each for each in given])

    return run


def _filled(operation: Operation, given: Sequence[Tensor | None]) -> Map:
    """The operation on values alone: its constants stand in their places, for each image."""

    def run(*values: Tensor) -> Tensor:
        rest = iter(values)
        batch = len(values[0])
        inputs = [next(rest) if each is None else each.expand(batch, *each.shape[1:]) for each in given]
        return operation(*inputs)

    return run


def _unchanged(
    linear: Map,
    spread: Map,
    terms: int,
    sizes: tuple[Size, ...],
    size: Size,
    like: Tensor,
    signs: tuple[float, ...] = (),
) -> Affine:
    """Without an offset, with weights of 1 at most; with signs, those are all that it does to each input."""
    nothing = like.new_zeros(1, *size)
    through = partial(_signed, signs) if signs and _maps(sizes, size) else None
    return Affine(linear, spread, nothing, nothing, terms, 1.0, sizes, size, through=through)


def _maps(sizes: tuple[Size, ...], size: Size) -> bool:
    """Whether each element of a map comes from the same place of each input."""
    return len(size) == 3 and all(each == size for each in sizes)


def _signed(signs: tuple[float, ...], window: Window) -> tuple[Window, ...]:
    return tuple(window.with_(sign * window.each) for sign in signs)


def _averaged(operation: AveragePool, size_in: Size, like: Tensor, window: Window) -> tuple[Window]:
    """The transpose of a mean over windows without padding: of a convolution, channel by channel."""
    channels = size_in[0]
    weight = like.new_full((channels, 1, *operation.kernel), 1 / math.prod(operation.kernel))
    return (window.through(weight, operation.strides, operation.pads, (1, 1), channels, size_in),)


def _moved(slope: float, offset: Tensor, sizes: tuple[Size, ...], size: Size) -> Affine:
    """Add an offset to x or to -x, broadcast."""
    offset = offset.expand(1, *size)

    def linear(x: Tensor) -> Tensor:
        return (slope * x).expand(len(x), *size)

    def spread(x: Tensor) -> Tensor:
        return x.expand(len(x), *size)

    through = partial(_signed, (slope,)) if _maps(sizes, size) else None
    return Affine(linear, spread, offset, offset.abs(), 2, 1.0, sizes, size, through=through)


def _beside(linear: Map, offset: Tensor, sizes: tuple[Size, ...], size: Size) -> Affine:
    """Values that are moved, and constants beside them: nothing is rounded."""
    return Affine(linear, linear, offset, offset.abs(), 0, 1.0, sizes, size)
