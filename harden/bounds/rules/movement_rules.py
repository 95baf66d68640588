"""The rules of operations that move values, and join constants to them: nothing is rounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from torch import Tensor

from harden.bounds.crown.coefficients import Size
from harden.bounds.rules.affine_map import Affine, LinearMap
from harden.bounds.rules.rule_row import AnyBoundRule, BoundRule, Constants, OperationInputs
from harden.bounds.rules.sum_rules import unweighted
from harden.graph.operators.comparisons import Where
from harden.graph.operators.indexing import Gather, Slice, Trilu
from harden.graph.operators.interpolation import Interpolate
from harden.graph.operators.padding import Pad
from harden.graph.operators.reshaping import Expand, Reshape, Transpose
from harden.graph.operators.variadic import Concat, Stack


def _permuted(operation: Callable[[Tensor], Tensor], inputs: OperationInputs) -> Affine:
    return unweighted(operation, operation, 0, inputs)


def _interpolate(operation: Interpolate, inputs: OperationInputs) -> Affine | None:
    # Where float32 does not hold the shares exactly, the shares themselves are rounded.
    return unweighted(operation, operation, 4, inputs) if operation.exact else None


def _stack(operation: Stack, inputs: OperationInputs) -> Affine | None:
    constants = inputs.constants
    if not _finite(constants):
        return None
    without = _among(operation, [each if each is None else 0 * each for each in constants])
    return _with_constants(without, _among(operation, constants)(*_zeros(inputs)), inputs)


def _where(operation: Where, inputs: OperationInputs) -> Affine | None:
    condition, *values = inputs.constants
    if condition is None or not _finite(inputs.constants):
        return None
    without = _among(operation, [condition, *(each if each is None else 0 * each for each in values)])
    return _with_constants(without, _among(operation, inputs.constants)(*_zeros(inputs)), inputs)


def _pad(operation: Pad, inputs: OperationInputs) -> Affine:
    return _with_constants(Pad(operation.pads), operation(*_zeros(inputs)), inputs)


def _concat(operation: Concat, inputs: OperationInputs) -> Affine:
    constants = inputs.constants
    without = _filled(operation, [each if each is None else 0 * each for each in constants])
    return _with_constants(without, _filled(operation, constants)(*_zeros(inputs)), inputs)


def _expand(operation: Expand, inputs: OperationInputs) -> Affine:
    if inputs.constants[0] is not None:  # a constant for each image
        offset = operation(inputs.constants[0], inputs.like.new_zeros(1))
        return _with_constants(partial(_nothing, inputs.size), offset, inputs)
    # The second input, which gives the batch's size alone, is the first again.
    return unweighted(operation, operation, 0, inputs)


def _zeros(inputs: OperationInputs) -> list[Tensor]:
    """One image of zeros for each value that comes in."""
    return [inputs.like.new_zeros(1, *size) for size in inputs.sizes]


def _nothing(size: Size, batch: Tensor) -> Tensor:
    return batch.new_zeros(len(batch), *size)


def _finite(constants: Constants) -> bool:
    return all(bool(each.isfinite().all()) for each in constants if each is not None)


def _among(operation: LinearMap, constants: Sequence[Tensor | None]) -> LinearMap:
    """The operation on values alone, its constants broadcast to them."""

    def run(*values: Tensor) -> Tensor:
        rest = iter(values)
        return operation(*[next(rest) if each is None else each for each in constants])

    return run


def _filled(operation: LinearMap, constants: Sequence[Tensor | None]) -> LinearMap:
    """The operation on values alone, its constants in their positions for each image."""

    def run(*values: Tensor) -> Tensor:
        rest = iter(values)
        batch = len(values[0])
        inputs = [next(rest) if each is None else each.expand(batch, *each.shape[1:]) for each in constants]
        return operation(*inputs)

    return run


def _with_constants(linear: LinearMap, offset: Tensor, inputs: OperationInputs) -> Affine:
    """Values that are moved, and constants next to them: nothing is rounded."""
    return Affine(linear, linear, offset, offset.abs(), 0, 1.0, inputs.sizes, inputs.size)


ROWS: Final[tuple[AnyBoundRule, ...]] = (
    BoundRule(Concat, _concat),
    BoundRule(Expand, _expand),
    BoundRule(Gather, _permuted),
    BoundRule(Interpolate, _interpolate),
    BoundRule(Pad, _pad),
    BoundRule(Reshape, _permuted),
    BoundRule(Slice, _permuted),
    BoundRule(Stack, _stack),
    BoundRule(Transpose, _permuted),
    BoundRule(Trilu, _permuted),
    BoundRule(Where, _where),
)
