"""The table of ONNX operators, collected from the rows of every family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from harden.graph.batch_rules import BatchRule
from harden.graph.operators import (
    affine_layers,
    arithmetic,
    comparisons,
    indexing,
    interpolation,
    normalisation,
    padding,
    pooling,
    quantisation,
    rectifiers,
    reductions,
    reshaping,
    smooth_activations,
    variadic,
)
from harden.graph.operators.operator_row import Operator

_FAMILIES: Final = (
    affine_layers.ROWS,
    arithmetic.ROWS,
    comparisons.ROWS,
    indexing.ROWS,
    interpolation.ROWS,
    normalisation.ROWS,
    padding.ROWS,
    pooling.ROWS,
    quantisation.ROWS,
    rectifiers.ROWS,
    reductions.ROWS,
    reshaping.ROWS,
    smooth_activations.ROWS,
    variadic.ROWS,
)


def operators_by_name(rows: Iterable[Operator]) -> dict[str, Operator]:
    """Rows by the name of the ONNX operator.

    Raises:
        ValueError: an operator has two rows.
    """
    found: dict[str, Operator] = {}
    for row in rows:
        if row.name in found:
            raise ValueError(f"two rows of the ONNX operator {row.name}")
        found[row.name] = row
    return found


def batch_rules_by_operation(rows: Iterable[Operator]) -> dict[type[Any], BatchRule]:
    """Batch rules by class of operation.

    Raises:
        ValueError: two rows have a batch rule for an operation.
    """
    found: dict[type[Any], BatchRule] = {}
    for row in rows:
        for operation, rule in row.batch_rules.items():
            if operation in found:
                raise ValueError(f"two batch rules of the operation {operation.__name__}")
            found[operation] = rule
    return found


ROWS: Final = tuple(row for family in _FAMILIES for row in family)
OPERATORS: Final[Mapping[str, Operator]] = operators_by_name(ROWS)
BATCH_RULES: Final[Mapping[type[Any], BatchRule]] = batch_rules_by_operation(ROWS)
