"""The rules of pooling: means over windows, and maxima."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Final

from torch import Tensor

from harden.bounds.crown.coefficients import Size, WindowCoefficients
from harden.bounds.rules.affine_map import Affine
from harden.bounds.rules.max_pooling import Pooling
from harden.bounds.rules.rule_row import AnyBoundRule, BoundRule, OperationInputs
from harden.bounds.rules.sum_rules import average
from harden.graph.operators.pooling import AveragePool, MaxPool


def _average_pool(operation: AveragePool, inputs: OperationInputs) -> Affine:
    found = average(operation, math.prod(operation.kernel), inputs)
    if operation.ceil_mode or any(operation.pads) or len(inputs.size) != 3:
        return found
    return replace(found, through=partial(_averaged, operation, inputs.sizes[0], inputs.like))


def _averaged(
    operation: AveragePool, size_in: Size, like: Tensor, window: WindowCoefficients
) -> tuple[WindowCoefficients]:
    """The transpose of a mean over windows without padding: of a convolution, channel by channel."""
    channels = size_in[0]
    weight = like.new_full((channels, 1, *operation.kernel), 1 / math.prod(operation.kernel))
    return (window.through(weight, operation.strides, operation.pads, (1, 1), channels, size_in),)


def _max_pool(operation: MaxPool, inputs: OperationInputs) -> Pooling:
    return Pooling.of(operation, inputs.sizes[0], inputs.size, inputs.like)


ROWS: Final[tuple[AnyBoundRule, ...]] = (
    BoundRule(AveragePool, _average_pool),
    BoundRule(MaxPool, _max_pool),
)
