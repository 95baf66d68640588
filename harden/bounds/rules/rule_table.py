"""The table of bound rules, collected from the rows of every module of rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from harden.bounds.rules import function_rules, linear_layers, movement_rules, pooling_rules, sum_rules
from harden.bounds.rules.rule_row import AnyBoundRule

_FAMILIES: Final = (
    function_rules.ROWS,
    linear_layers.ROWS,
    movement_rules.ROWS,
    pooling_rules.ROWS,
    sum_rules.ROWS,
)


def rules_by_operation(rows: Iterable[AnyBoundRule]) -> dict[type[Any], AnyBoundRule]:
    """Rows by class of operation.

    Raises:
        ValueError: an operation has two rows.
    """
    found: dict[type[Any], AnyBoundRule] = {}
    for row in rows:
        if row.operation in found:
            raise ValueError(f"two bound rules of the operation {row.operation.__name__}")
        found[row.operation] = row
    return found


BOUND_RULES: Final[Mapping[type[Any], AnyBoundRule]] = rules_by_operation(
    row for family in _FAMILIES for row in family
)
