"""Batches of examples in memory: sizes, order and parts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    TensorDataset,
)

from harden.data import Examples, from_loader, unlabelled
from harden.data.sources.in_memory import ExamplesSource, epoch_indices
from harden.errors import InputError


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair(n: int = 40) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 1, 4, 4, generator=draw()), torch.arange(n) % 4


@pytest.mark.parametrize("kind", ["tensors", "data loader"])
def test_no_batch_of_one_in_training(kind: str) -> None:
    x, y = pair(33)
    source = from_loader((x, y) if kind == "tensors" else DataLoader(TensorDataset(x, y), batch_size=16), 16)
    assert [len(batch) for batch in source.epoch(draw())] == [16, 17]
    assert [len(batch) for batch in source.epoch(None)] == [16, 16, 1]


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 9))
def test_a_shuffled_epoch_covers_all_once_without_a_last_batch_of_one(n: int, size: int, seed: int) -> None:
    order = epoch_indices(n, size, draw(seed))
    assert sorted(torch.cat(order).tolist()) == list(range(n))
    assert size == 1 or n == 1 or len(order[-1]) > 1
    assert all(len(index) == size for index in order[:-1])
    in_order = epoch_indices(n, size, None)
    assert torch.cat(in_order).tolist() == list(range(n))
    assert [len(index) for index in in_order] == [min(size, n - begin) for begin in range(0, n, size)]


def test_parts_hold_the_examples_of_their_positions() -> None:
    x, y = pair()
    source = ExamplesSource(Examples(x, y, tuple("abcd"), "mine"), 16)
    part = source.take(torch.tensor([9, 3])).resized(1)
    assert [(batch.index.tolist(), batch.y.tolist()) for batch in part.epoch(None)] == [
        ([0], [1]),
        ([1], [3]),
    ]
    assert source.describe() == "mine: 40 images 1x4x4, 4 classes, in memory"
    with pytest.raises(InputError, match="batch size of 0"):
        source.resized(0)


def test_nothing_is_held_out_from_images_without_labels() -> None:
    source = unlabelled(pair()[0])
    assert isinstance(source, ExamplesSource)
    assert source.classes is None
    assert "no labels" in source.describe()
    with pytest.raises(InputError, match="a part to hold out from images without labels"):
        source.hold_out(0.2, 0)
