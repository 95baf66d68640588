"""Batch rules: shapes for which an operation computes each image by itself, and shapes for which not."""

from __future__ import annotations

import pytest
import torch

from harden.graph import BATCH, Node
from harden.graph.batch_rules import (
    Shape,
    alike_for_each_image,
    along_axis,
    broadcast,
    constant_weights,
    follows_batch,
    no_guarantee,
    one_value,
)
from harden.graph.operators.normalisation import Softmax
from harden.graph.operators.rectifiers import Relu

ROW = (BATCH, 4)


def result(shape: Shape, operation: Softmax | Relu = Relu()) -> Node:  # noqa: B008  # a frozen value
    return Node(operation, (), "y", shape, "", "")


@pytest.mark.parametrize(
    ("shape", "rank", "alike"),
    [
        (ROW, 2, True),
        (ROW, 3, False),  # its batch would meet the second dimension
        ((4,), 2, True),
        ((1, 4), 2, True),
        ((2, 4), 2, False),  # a row for each of two images
        ((), 0, True),
        ((), 2, True),
        ((-2, 4), 2, False),  # twice the batch
    ],
)
def test_an_input_that_is_alike_for_each_image(shape: Shape, rank: int, alike: bool) -> None:
    assert alike_for_each_image(shape, rank) == alike


def test_what_broadcasts_is_as_torch_broadcasts_it() -> None:
    """Where the rule holds, the first image's row is that of a batch of it alone."""
    x = torch.arange(12.0).reshape(3, 4)
    for shape in ((4,), (1, 4), (1, 1), ()):
        other = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        assert broadcast(result(ROW), [ROW, shape])
        assert torch.equal((x + other)[:1], x[:1] + other)
    assert not broadcast(result(ROW), [ROW, (3, 4)])
    assert not broadcast(result((3, BATCH, 4)), [ROW, (3, 1, 4)])


def test_one_value_and_constant_weights() -> None:
    assert one_value(result(ROW), [ROW])
    assert not one_value(result(ROW), [ROW, ROW])
    assert constant_weights(result(ROW), [ROW, (4, 4), (4,)])
    assert not constant_weights(result(ROW), [ROW, ROW])
    assert not no_guarantee(result(ROW), [ROW])
    assert [follows_batch(shape) for shape in (ROW, (4, BATCH), ())] == [True, False, False]


@pytest.mark.parametrize(("axis", "holds"), [(0, False), (1, True), (-1, True), (-2, False)])
def test_an_axis_other_than_the_batch_s(axis: int, holds: bool) -> None:
    assert along_axis(result(ROW, Softmax(axis)), [ROW]) == holds
    assert not along_axis(result(ROW), [ROW])  # no axis at all
    assert not along_axis(result(ROW, Softmax(axis)), [ROW, (3, 4)])
