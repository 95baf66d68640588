"""Objects that a network leads to: through attributes, slots, closures, hooks; libraries are not searched."""

from __future__ import annotations

import functools
import types
from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

from harden.models.preserving.reachable_objects import (
    attributes_of,
    contents_of_cell,
    is_importable,
    is_outside,
    members,
    names_of,
    reached,
    rebound_globals,
    slots_of,
)

SEEN: list[str] = []
COUNT = 0


class Slotted:
    __slots__ = ("held", "missing")

    def __init__(self, held: object) -> None:
        self.held = held


class Records(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        SEEN.append("forward")
        return x


def rebinds() -> None:
    def inner() -> None:
        global COUNT
        COUNT += 1

    inner()


def test_an_object_is_reached_through_every_kind_of_holder() -> None:
    target = torch.zeros(2)
    holders: list[Any] = [
        [target],
        (target,),
        {"a": target},
        deque([target]),
        Slotted(target),
        types.SimpleNamespace(a=target),
        lambda: target,
        functools.partial(print, target),
        functools.partial(print, end=target),
        types.MethodType(lambda self: None, [target]),
    ]
    for holder in holders:
        network = nn.Linear(2, 2)
        network.holder = [{"deep": holder}]  # type: ignore[assignment]  # what users do
        assert reached(network)[id(target)] is target
    network = nn.Linear(2, 2)
    network.register_forward_hook(lambda *_: target.add_(1))
    assert id(target) in reached(network)
    assert id(target) not in reached(nn.Linear(2, 2))


def test_cycles_end_and_each_object_is_found_once() -> None:
    network = nn.Linear(2, 2)
    network.parent = [network]  # type: ignore[assignment]  # what users do
    found = reached(network)
    assert found[id(network)] is network
    assert found[id(network.weight)] is network.weight


def test_global_state_is_reached_around_a_network_alone() -> None:
    network = Records()
    assert id(SEEN) not in reached(network)
    assert id(SEEN) in reached(network, around=True)


def test_what_belongs_to_training_is_not_searched() -> None:
    network = nn.Linear(2, 2)
    optimiser = torch.optim.SGD(network.parameters())
    assert is_outside(optimiser)
    assert list(members(optimiser)) == []
    assert not is_outside(network)


def test_attributes_slots_and_cells() -> None:
    held = object()
    assert slots_of(Slotted(held)) == {"held": held}
    assert attributes_of(Slotted(held)) is None
    assert attributes_of(types.SimpleNamespace(a=held)) == {"a": held}
    assert contents_of_cell(types.CellType(held)) == (held,)
    assert contents_of_cell(types.CellType()) == ()


def test_functions_by_name_and_the_names_that_they_use() -> None:
    (local,) = [lambda: SEEN]
    for function, known in ((rebinds, True), (functools.wraps, True), (local, False)):
        assert isinstance(function, types.FunctionType)
        assert is_importable(function) is known
    assert "SEEN" in names_of(local.__code__)
    assert rebound_globals(rebinds.__code__) == {"COUNT"}
    assert rebound_globals(local.__code__) == set()
