"""Bound rules of operations: affine maps, functions of one value, the maximum over windows."""

from harden.bounds.rules.affine_map import Affine
from harden.bounds.rules.fused_sums import one_sum, with_offset
from harden.bounds.rules.max_pooling import MaximumBounds, Pooling
from harden.bounds.rules.piecewise_linear import Rectifier
from harden.bounds.rules.pointwise_bounds import Interval, LinearBounds, Pointwise
from harden.bounds.rules.rule_row import OperationInputs, Rule
from harden.bounds.rules.rule_table import BOUND_RULES

__all__ = [
    "BOUND_RULES",
    "Affine",
    "Interval",
    "LinearBounds",
    "MaximumBounds",
    "OperationInputs",
    "Pointwise",
    "Pooling",
    "Rectifier",
    "Rule",
    "one_sum",
    "with_offset",
]
