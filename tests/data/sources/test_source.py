"""The protocol of data: what the sources of harden have in common, in memory, streamed and loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from harden.data import Batch, Examples, Source, from_loader
from harden.data.sources.in_memory import ExamplesSource
from harden.data.sources.loader_adapter import is_source

N = 40
MEMBERS = {name for name in vars(Source) if not name.startswith("_")} | {"__len__"}


class Streamed:
    """Batches of 7 that can be iterated again and again."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(zip(torch.split(self.x, 7), torch.split(self.y, 7), strict=True))


def in_memory(examples: Examples) -> Source:
    return ExamplesSource(examples, 16)


def of_pair(examples: Examples) -> Source:
    return from_loader((examples.batch(torch.arange(N)).x, examples.y), 16)


def of_dataloader(examples: Examples) -> Source:
    x = examples.batch(torch.arange(N)).x
    return from_loader(DataLoader(TensorDataset(x, examples.y), batch_size=16))


def of_stream(examples: Examples) -> Source:
    return from_loader(Streamed(examples.batch(torch.arange(N)).x, examples.y), 16)


Make = Callable[[Examples], Source]
each_source = pytest.mark.parametrize("make", [in_memory, of_pair, of_dataloader, of_stream])


def positions(batches: Iterator[Batch]) -> Tensor:
    return torch.cat([batch.index for batch in batches])


@each_source
def test_every_source_has_all_members(make: Make, coloured: Examples) -> None:
    source = make(coloured)
    assert [name for name in MEMBERS if not hasattr(source, name)] == []
    assert is_source(source)
    assert len(source) == N
    assert source.batch_size >= 1
    assert len(source.describe().splitlines()) == 1


@each_source
def test_an_epoch_is_every_example_once_at_its_position(make: Make, coloured: Examples) -> None:
    source, whole = make(coloured), coloured.batch(torch.arange(N))
    for generator in (None, torch.Generator().manual_seed(0)):
        batches = list(source.epoch(generator))
        assert sorted(positions(iter(batches)).tolist()) == list(range(N))
        for batch in batches:
            assert torch.equal(batch.x, whole.x[batch.index])
            assert torch.equal(batch.y, whole.y[batch.index])
    assert positions(source.epoch(None)).tolist() == list(range(N))


@each_source
def test_the_generator_decides_the_order_at_the_call_and_is_free_after_it(
    make: Make, coloured: Examples
) -> None:
    source = make(coloured)
    one, other = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    first, second = source.epoch(one), source.epoch(other)
    # The caller goes on drawing from it before a batch is read.
    torch.rand(100, generator=one)
    assert torch.equal(positions(first), positions(second))
    assert not torch.equal(
        positions(source.epoch(torch.Generator().manual_seed(6))),
        positions(source.epoch(torch.Generator().manual_seed(5))),
    )


@each_source
def test_a_held_out_part_is_stratified_and_counts_anew(make: Make, coloured: Examples) -> None:
    rest, held_out = make(coloured).hold_out(0.2, 3)
    assert len(rest) + len(held_out) == N
    assert len(held_out) == 8
    for part in (rest, held_out):
        assert positions(part.epoch(None)).tolist() == list(range(len(part)))
    labels = torch.cat([batch.y for batch in held_out.epoch(None)])
    assert torch.bincount(labels, minlength=3).tolist() == [4, 3, 1]


def test_what_lacks_a_member_is_no_source() -> None:
    assert not is_source([1, 2, 3])
    assert not is_source(torch.zeros(3, 1, 2, 2))
