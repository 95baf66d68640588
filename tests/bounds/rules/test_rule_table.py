"""The table of bound rules: one row for an operation, and none for what mixes images."""

from __future__ import annotations

import pytest

from harden.bounds.rules import BOUND_RULES, Rectifier
from harden.bounds.rules.rule_row import of_one_value
from harden.bounds.rules.rule_table import rules_by_operation
from harden.graph.operator_table import BATCH_RULES
from harden.graph.operators.rectifiers import Relu


def test_two_bound_rules_of_an_operation_are_an_error() -> None:
    row = of_one_value(Relu, lambda function: Rectifier())
    with pytest.raises(ValueError, match="two bound rules of the operation Relu"):
        rules_by_operation([row, row])


def test_every_bound_rule_is_of_an_operation_that_keeps_images_apart() -> None:
    assert all(operation in BATCH_RULES for operation in BOUND_RULES)
