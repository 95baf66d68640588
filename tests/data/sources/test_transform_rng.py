"""Private random states: items do not depend on the global generators, which are left as found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from harden.data.sources.transform_rng import draw_seed, with_private_rng


def drawn(count: int = 3) -> Iterator[tuple[float, float, float]]:
    """A draw from each global generator."""
    for _ in range(count):
        yield float(torch.rand(())), random.random(), float(np.random.rand())


def global_states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def test_items_follow_the_seed_alone() -> None:
    one = list(with_private_rng(drawn(), 3))
    items = []
    for item in with_private_rng(drawn(), 3):
        items.append(item)
        next(drawn())  # other draws between two items
    assert items == one
    other = list(with_private_rng(drawn(), 4))
    assert all(a != b for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))
    assert len({part for item in one for part in item}) == 9


def test_global_states_are_left_as_found() -> None:
    before = global_states()
    items = with_private_rng(drawn(), 5)
    for _ in items:
        assert global_states() == before

    def fails() -> Iterator[int]:
        next(drawn())
        raise OSError("gone")
        yield 0

    with pytest.raises(OSError, match="gone"):
        next(with_private_rng(fails(), 5))
    assert global_states() == before


def test_the_seed_is_one_draw_of_the_generator() -> None:
    one, other = (torch.Generator().manual_seed(1) for _ in range(2))
    assert draw_seed(one) == draw_seed(other) != draw_seed(one)
    assert draw_seed(None) == 0
    assert 0 <= draw_seed(one) < 2**62
