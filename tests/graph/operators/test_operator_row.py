"""The row of an operator: its converter of nodes without attributes, and batch rules of its own."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from harden.graph.batch_rules import one_value
from harden.graph.operators.operator_row import Operator, always
from harden.graph.operators.rectifiers import Relu
from harden.graph.reading.node_view import NodeView


def node(**attributes: object) -> NodeView:
    return NodeView("Relu", attributes, [], 18, (2, 3), [True])


@pytest.mark.parametrize("inputs", [0, 1, 2, 5])
def test_a_node_is_always_the_same_operation_on_its_first_inputs(inputs: int) -> None:
    operation = Relu()
    convert = always(operation, inputs)
    for call in (node(), node(alpha=0.5)):
        ((found, places),) = convert(call)
        assert found is operation
        assert places == tuple(range(inputs))


def test_each_reading_is_a_list_of_its_own() -> None:
    convert = always(Relu(), 1)
    first = convert(node())
    first.clear()
    assert len(convert(node())) == 1


def test_a_row_has_no_batch_rules_by_default_and_shares_none() -> None:
    one, other = Operator("Relu", always(Relu(), 1)), Operator("Abs", always(Relu(), 1))
    assert one.batch_rules == {}
    assert one.batch_rules is not other.batch_rules
    assert Operator("Relu", always(Relu(), 1), {Relu: one_value}).batch_rules[Relu] is one_value


def test_a_row_can_not_be_changed_and_is_equal_to_itself_alone() -> None:
    convert = always(Relu(), 1)
    row = Operator("Relu", convert)
    with pytest.raises(FrozenInstanceError):
        row.name = "Abs"  # type: ignore[misc]  # wrong on purpose
    assert row != Operator("Relu", convert)
