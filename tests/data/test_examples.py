"""Examples in memory: conversion to [0, 1], batches in a drawn order, and parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harden.data import Batch, Examples, check_trainable
from harden.data.examples import to_unit
from harden.errors import InputError


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(*shape: int) -> Tensor:
    return torch.rand(shape or (4, 3, 8, 8), generator=draw())


LABELS = torch.tensor([0, 1, 1, 0])


def test_a_batch_is_float32_in_the_unit_range_with_positions(coloured: Examples) -> None:
    batch = coloured.batch(torch.tensor([7, 3]))
    assert len(batch) == 2
    assert batch.x.dtype == torch.float32
    assert torch.equal(batch.x, coloured.x[[7, 3]].float().div(255))
    assert torch.equal(batch.y, coloured.y[[7, 3]])
    assert batch.index.tolist() == [7, 3]
    moved = batch.to("cpu")
    assert moved.x is batch.x


def test_sixteen_bits_keep_their_depth() -> None:
    x = torch.tensor([0, 1, 32768, 65535]).to(torch.uint16).view(1, 1, 2, 2)
    examples = Examples(x, torch.tensor([0]), ("a",))
    assert examples.batch(torch.tensor([0])).x.flatten().tolist() == pytest.approx(
        [0, 1 / 65535, 32768 / 65535, 1]
    )
    assert torch.equal(examples.take(torch.tensor([0])).x.view(torch.int16), x.view(torch.int16))


def test_every_byte_converts_as_a_correctly_rounded_quotient() -> None:
    every = torch.arange(256).to(torch.uint8).view(1, 1, 16, 16)
    assert to_unit(every).flatten().tolist() == [float(np.float32(k) / np.float32(255)) for k in range(256)]


def test_batches_in_order_cover_all_once(coloured: Examples) -> None:
    batches = list(coloured.batches(16))
    assert [len(batch) for batch in batches] == [16, 16, 8]
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(40))
    assert [len(batch) for batch in coloured.batches(16, drop_last=True)] == [16, 16]


def test_batches_shuffle_by_the_generator_alone(coloured: Examples) -> None:
    def order(seed: int) -> list[int]:
        return torch.cat([batch.index for batch in coloured.batches(7, draw(seed))]).tolist()

    outside = torch.get_rng_state()
    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(40))
    assert torch.equal(torch.get_rng_state(), outside)
    generator = draw()
    first = [batch.index.tolist() for batch in coloured.batches(40, generator)]
    assert first != [batch.index.tolist() for batch in coloured.batches(40, generator)]


def test_the_order_is_drawn_at_the_call(coloured: Examples) -> None:
    generator, reference = draw(), draw()
    batches = coloured.batches(10, generator)
    torch.rand(5, generator=generator)  # such as a view's draws between two batches
    expected = torch.cat([batch.index for batch in coloured.batches(10, reference)])
    assert torch.equal(torch.cat([batch.index for batch in batches]), expected)


def test_take_selects_in_order_and_counts_anew(coloured: Examples) -> None:
    part = coloured.take(torch.tensor([30, 2, 11]))
    assert torch.equal(part.y, coloured.y[[30, 2, 11]])
    assert next(part.batches(3)).index.tolist() == [0, 1, 2]
    assert part.classes == coloured.classes
    assert part.image_shape == (3, 6, 5)


def test_one_class_can_be_evaluated_but_not_learnt() -> None:
    one = Examples(pixels(), torch.ones(4, dtype=torch.int64), ("a", "b"))
    with pytest.raises(InputError, match="all 4 labels are 1"):
        check_trainable(one)
    check_trainable(Examples(pixels(), LABELS, ("a", "b")))


@pytest.mark.parametrize("size", [0, -3])
def test_refuses_a_batch_size_below_one(coloured: Examples, size: int) -> None:
    with pytest.raises(InputError, match="batch size"):
        coloured.batches(size)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_device_with_the_same_bytes(coloured: Examples) -> None:
    there = Examples(coloured.x.cuda(), coloured.y.cuda(), coloured.classes)
    assert there.digest() == coloured.digest()
    batch = next(there.batches(8, draw()))
    assert batch.x.is_cuda
    assert batch.index.is_cuda
    assert isinstance(batch.to("cpu"), Batch)
