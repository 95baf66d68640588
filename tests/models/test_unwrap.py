"""Modules inside wrappers: found without a copy, under names that do not depend on wrappers."""

from __future__ import annotations

import pytest
from torch import nn

from harden.models.unwrap import named_parts, part_named, unwrap


class Compiled(nn.Module):
    """As the wrapper of torch.compile holds its module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module


def network() -> tuple[nn.Module, nn.Linear]:
    head = nn.Linear(3, 2)
    return nn.DataParallel(nn.Sequential(nn.Flatten(), Compiled(nn.Sequential(nn.ReLU(), head)))), head


def test_the_inner_module_is_found_through_several_wrappers() -> None:
    inner = nn.Linear(2, 2)
    assert unwrap(inner) is inner
    assert unwrap(nn.DataParallel(Compiled(nn.DataParallel(inner)))) is inner


def test_names_of_parts_are_those_without_wrappers() -> None:
    wrapped, head = network()
    plain = nn.Sequential(nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    parts = dict(named_parts(wrapped))
    assert list(parts) == [name for name, _ in plain.named_modules()]
    assert parts["1.1"] is head
    assert [name for name, _ in named_parts(plain, "body")][:2] == ["body", "body.0"]


def test_a_part_is_found_by_its_name() -> None:
    wrapped, head = network()
    for name, part in named_parts(wrapped):
        assert part_named(wrapped, name) is part
    assert part_named(wrapped, "1.1") is head
    with pytest.raises(AttributeError):
        part_named(wrapped, "1.2")
