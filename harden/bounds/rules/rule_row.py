"""The row of a bound rule: a class of operation, and what derives its rule from attributes and constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

from torch import Tensor

from harden.bounds.crown.coefficients import Size
from harden.bounds.rules.affine_map import Affine
from harden.bounds.rules.max_pooling import Pooling
from harden.bounds.rules.pointwise_bounds import Pointwise

Rule = Affine | Pointwise | Pooling
Constants = tuple[Tensor | None, ...]
"""The constants among an operation's inputs, in their positions; None where a value comes in."""

_Operation = TypeVar("_Operation")


@final
@dataclass(frozen=True, slots=True, eq=False)
class OperationInputs:
    """Constants and sizes of an operation's inputs and output, known before any bound is computed.

    Args:
        constants: in the positions of the inputs; None where a value comes in.
        sizes: of the values that come in, without the batch.
        size: of the output, without the batch.
        like: a tensor of the dtype and on the device of the bounds.
    """

    constants: Constants
    sizes: tuple[Size, ...]
    size: Size
    like: Tensor

    @property
    def zeros(self) -> Tensor:
        """An offset of 0, (1, *size)."""
        return self.like.new_zeros(1, *self.size)


@final
@dataclass(frozen=True, slots=True, eq=False)
class BoundRule(Generic[_Operation]):
    """A class of operation and its rule.

    Args:
        operation: the class.
        derive: the rule of an operation of this class on its inputs; None where there is no sound one, for
            instance because a weight is no constant.
    """

    operation: type[_Operation]
    derive: Callable[[_Operation, OperationInputs], Rule | None]


def of_one_value(
    operation: type[_Operation], derive: Callable[[_Operation], Pointwise | None]
) -> BoundRule[_Operation]:
    """The row of a function of one value, whose rule follows from the operation's attributes alone."""
    return BoundRule(operation, lambda function, inputs: derive(function))


AnyBoundRule = BoundRule[Any]
