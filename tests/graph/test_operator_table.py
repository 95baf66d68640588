"""The table of ONNX operators: one row each, one batch rule for each operation, and named gaps."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import pytest
from torch import Tensor

from harden.graph import read
from harden.graph.batch_rules import no_guarantee, one_value
from harden.graph.operator_table import (
    BATCH_RULES,
    OPERATORS,
    ROWS,
    batch_rules_by_operation,
    operators_by_name,
)
from harden.graph.operators.operator_row import Operator, always
from harden.graph.operators.rectifiers import Relu
from tests.graph.graphs import one


@dataclass(frozen=True)
class Halved:
    """An operation that is in no row."""

    def __call__(self, x: Tensor) -> Tensor:
        return x / 2


def test_rows_are_named_after_operators_of_onnx() -> None:
    assert len(OPERATORS) == len(ROWS)
    assert all(onnx.defs.has(name) and row.name == name for name, row in OPERATORS.items())


def test_each_operation_has_one_batch_rule() -> None:
    assert len(BATCH_RULES) == sum(len(row.batch_rules) for row in ROWS)
    assert {rule.__name__ for rule in BATCH_RULES.values()} >= {"one_value", "broadcast", "no_guarantee"}


def test_two_rows_of_an_operator_are_an_error() -> None:
    row = Operator("Relu", always(Relu(), 1), {Relu: one_value})
    with pytest.raises(ValueError, match="two rows of the ONNX operator Relu"):
        operators_by_name([row, row])


def test_two_batch_rules_of_an_operation_are_an_error() -> None:
    rows = [
        Operator("Relu", always(Relu(), 1), {Relu: one_value}),
        Operator("Abs", always(Relu(), 1), {Relu: no_guarantee}),
    ]
    with pytest.raises(ValueError, match="two batch rules of the operation Relu"):
        batch_rules_by_operation(rows)


def test_a_missing_batch_rule_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {**OPERATORS, "Relu": Operator("Relu", always(Halved(), 1))}
    monkeypatch.setattr("harden.graph.reading.read.OPERATORS", rows)
    with pytest.raises(TypeError, match="operation Halved of Relu has no batch rule: add it to its row"):
        read(one("Relu", ("n", 3)))
