"""Concatenation, extrema, sums and means of several values, with constants among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

from harden.errors import InputError
from harden.graph import mixing, read
from harden.graph.operators.arithmetic import Add
from harden.graph.operators.rectifiers import Clip
from harden.graph.operators.variadic import ROWS, Concat, Stack
from tests.graph.cases import check_case, named, same
from tests.graph.graphs import constant, model, normal, one

node = helper.make_node


@pytest.mark.parametrize("name", named(ROWS))
def test_it_computes_what_the_runtime_computes(name: str) -> None:
    check_case(name)


def test_tensors_next_to_each_other() -> None:
    one_, other = torch.from_numpy(normal(2, 3)), torch.from_numpy(normal(3, seed=1))
    found = Stack()(one_, other)
    assert torch.equal(found, torch.stack([one_, other.expand(2, 3)], -1))
    assert torch.equal(Concat(1)(one_, one_), torch.cat([one_, one_], 1))


@pytest.mark.parametrize("kind", ["Max", "Min", "Sum", "Mean"])
def test_several_values_and_a_constant_that_broadcasts(kind: str) -> None:
    nodes = [
        node("Neg", ["x"], ["a"]),
        node("Mul", ["x", "x"], ["b"]),
        node(kind, ["a", "b", "c", "x"], ["y"]),
    ]
    file = model(nodes, ("n", 2, 3), [constant("c", normal(2, 1))])
    same(file, 2, 3)
    assert mixing(read(file)) == ()
    rule: Any = {
        "Max": np.maximum.reduce,
        "Min": np.minimum.reduce,
        "Sum": sum,
        "Mean": lambda v: sum(v) / 4,
    }[kind]
    x = normal(4, 2, 3)
    expected = rule([-x, x * x, np.broadcast_to(normal(2, 1), x.shape), x])
    np.testing.assert_allclose(read(file).run(torch.from_numpy(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_an_extremum_with_one_number_is_a_clip() -> None:
    assert read(one("Max", ("n", 3), np.float32(0.5))).nodes[0].operation == Clip(0.5, None)
    assert read(one("Min", ("n", 3), np.float32(0.5), first=1)).nodes[0].operation == Clip(None, 0.5)
    with_a_row = read(one("Max", ("n", 3), normal(3)))
    assert not any(isinstance(each.operation, Clip) for each in with_a_row.nodes)
    same(one("Max", ("n", 3), normal(3)), 3)


def test_a_sum_of_two_is_an_addition_and_of_one_is_itself() -> None:
    assert read(one("Sum", ("n", 3), normal(3))).nodes[0].operation == Add()
    for kind in ("Sum", "Mean", "Max"):
        same(one(kind, ("n", 3)), 3)


def test_values_joined_along_the_batch_are_refused_or_mix() -> None:
    with pytest.raises(InputError, match="logits for each image"):
        read(model([node("Concat", ["x", "x"], ["y"], axis=0)], ("n", 3)))
    stacked = Stack()(torch.ones(2, 3), torch.zeros(1, 3))
    assert stacked.shape == (2, 3, 2)
