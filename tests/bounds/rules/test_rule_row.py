"""Rows of bound rules: what a rule is derived from, and the row of a function of one value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from harden.bounds.rules.piecewise_linear import Rectifier
from harden.bounds.rules.pointwise_bounds import Pointwise
from harden.bounds.rules.rule_row import BoundRule, OperationInputs, of_one_value
from harden.graph.operators.rectifiers import LeakyRelu, Relu


def inputs(size: tuple[int, ...] = (2, 3), dtype: torch.dtype = torch.float64) -> OperationInputs:
    return OperationInputs((None,), (size,), size, torch.ones((), dtype=dtype))


@pytest.mark.parametrize("size", [(), (4,), (2, 3), (1, 5, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_offset_of_nothing_is_zero_in_the_outputs_size(size: tuple[int, ...], dtype: torch.dtype) -> None:
    found = inputs(size, dtype).zeros
    assert torch.equal(found, torch.zeros(1, *size, dtype=dtype))
    assert found.dtype == dtype


def test_the_offset_follows_the_output_and_not_the_inputs() -> None:
    given = OperationInputs((None,), ((7,),), (3,), torch.zeros(()))
    assert given.zeros.shape == (1, 3)
    assert given.zeros.device == given.like.device


def test_a_row_of_one_value_derives_from_the_operation_alone() -> None:
    seen: list[LeakyRelu] = []

    def derive(function: LeakyRelu) -> Pointwise:
        seen.append(function)
        return Rectifier()

    row = of_one_value(LeakyRelu, derive)
    assert isinstance(row, BoundRule)
    assert row.operation is LeakyRelu
    operation = LeakyRelu(0.25)
    found = [row.derive(operation, given) for given in (inputs(), inputs((9,), torch.float32))]
    assert all(isinstance(rule, Rectifier) for rule in found)
    assert len(seen) == 2
    assert all(each is operation for each in seen)


def test_no_sound_rule_is_none() -> None:
    assert of_one_value(Relu, lambda function: None).derive(Relu(), inputs()) is None


def test_rows_and_inputs_can_not_be_changed() -> None:
    row, given = of_one_value(Relu, lambda function: Rectifier()), inputs()
    with pytest.raises(FrozenInstanceError):
        row.operation = LeakyRelu  # type: ignore[misc, assignment]  # wrong on purpose
    with pytest.raises(FrozenInstanceError):
        given.size = ()  # type: ignore[misc]  # wrong on purpose
