"""Every kind of data as a source of the same epochs, in memory or as a stream."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    TensorDataset,
)

from harden.data import Examples, Source, from_loader
from harden.data.sources import loader_adapter
from harden.errors import InputError

Pair = tuple[Tensor, Tensor]


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair(n: int = 40) -> Pair:
    return torch.rand(n, 1, 4, 4, generator=draw()), torch.arange(n) % 4


def sources() -> dict[str, Source]:
    x, y = pair()
    batches = [(x[k : k + 16], y[k : k + 16]) for k in range(0, 40, 16)]
    return {
        "examples": from_loader(Examples(x, y, tuple("abcd")), 16),
        "tensors": from_loader((x, y), 16),
        "list": from_loader([x, y], 16),
        "arrays": from_loader((x.permute(0, 2, 3, 1).numpy(), y.numpy()), 16),
        "data loader": from_loader(DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)),
        "dataset": from_loader(TensorDataset(x, y), 16),
        "batches": from_loader(batches),
        "iterator": from_loader(iter(batches)),
    }


@pytest.mark.parametrize("kind", list(sources()))
def test_all_kinds_give_the_same_epochs(kind: str) -> None:
    source, (x, y) = sources()[kind], pair()
    assert len(source) == 40
    assert source.batch_size == 16
    assert "40" in source.describe()
    outside = torch.get_rng_state()
    for generator in (None, draw(7), draw(8)):
        batches = list(source.epoch(generator))
        assert [len(batch) for batch in batches] == [16, 16, 8]
        index = torch.cat([batch.index for batch in batches])
        assert sorted(index.tolist()) == list(range(40))
        assert (index.tolist() == list(range(40))) == (generator is None)
        assert torch.equal(torch.cat([batch.x for batch in batches]), x[index])
        assert torch.equal(torch.cat([batch.y for batch in batches]), y[index])
    assert torch.equal(torch.get_rng_state(), outside)


@pytest.mark.parametrize("kind", list(sources()))
def test_order_follows_the_generator(kind: str) -> None:
    source = sources()[kind]

    def order(generator: torch.Generator) -> list[int]:
        return torch.cat([batch.index for batch in source.epoch(generator)]).tolist()

    assert order(draw(1)) == order(draw(1)) != order(draw(2))
    generator = draw(1)
    assert order(generator) != order(generator)
    # Kinds agree: how data is stored must not decide what is trained on when.
    assert order(draw(3)) == torch.randperm(40, generator=draw(3)).tolist()


@pytest.mark.parametrize("kind", list(sources()))
def test_the_generator_is_used_at_the_call_only(kind: str) -> None:
    source, generator, reference = sources()[kind], draw(4), draw(4)
    expected = [batch.index.tolist() for batch in source.epoch(reference)]
    got = []
    for batch in source.epoch(generator):
        got.append(batch.index.tolist())
        torch.rand(3, generator=generator)
    assert got == expected


@pytest.mark.parametrize("kind", list(sources()))
def test_hold_out_is_stratified_and_the_same_for_all_kinds(kind: str) -> None:
    rest, held = sources()[kind].hold_out(0.2, seed=3)
    reference = from_loader(pair(), 16).hold_out(0.2, seed=3)[1]
    assert (len(rest), len(held)) == (32, 8)
    batch = next(held.epoch(None))
    assert batch.y.bincount().tolist() == [2, 2, 2, 2]
    assert batch.index.tolist() == list(range(8))
    assert torch.equal(batch.x, next(reference.epoch(None)).x)
    seen = torch.cat([b.x for part in (rest, held) for b in part.epoch(None)])
    assert len(torch.unique(seen.flatten(1), dim=0)) == 40


class Stream(IterableDataset[Pair]):
    def __iter__(self) -> Iterator[Any]:
        x, y = pair()
        yield from zip((x * 255).to(torch.uint8), y, strict=True)


def test_a_stream_is_kept_in_memory_as_it_is_stored() -> None:
    source = from_loader(DataLoader(Stream(), batch_size=16))
    assert len(source) == 40
    assert "in memory" in source.describe()
    batch = next(source.epoch(None))
    assert torch.equal(batch.x, (pair()[0][:16] * 255).to(torch.uint8) / 255)


def test_a_stream_may_reuse_its_memory() -> None:
    def stream() -> Iterator[Pair]:
        x, y = torch.empty(2, 1, 4, 4), torch.tensor([0, 1])
        for k in range(3):
            yield x.fill_(k / 4), y

    values = torch.cat([batch.x[:, 0, 0, 0] for batch in from_loader(stream()).epoch(None)])
    assert values.tolist() == [0, 0, 0.25, 0.25, 0.5, 0.5]


def test_a_stream_without_end_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", 10_000)

    def stream() -> Iterator[Pair]:
        while True:
            yield pair()

    with pytest.raises(InputError, match=r"random access.*map-style"):
        from_loader(stream())


def test_a_long_stream_says_how_many_images_there_were_so_far(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # An endless loader can't be distinguished from a long one, but its user knows.
    x, y = pair()
    monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", x.numel() * 4)
    with caplog.at_level(logging.INFO, "harden"):
        assert len(from_loader([(x, y)] * 9)) == 360
    said = [record.getMessage() for record in caplog.records]
    assert [message.split()[1] for message in said if "so far" in message] == ["80", "120", "200", "360"]


def test_wider_floats_become_float32() -> None:
    x, y = pair()
    assert next(from_loader((x.double(), y)).epoch(None)).x.dtype == torch.float32
    assert next(from_loader(TensorDataset(x.double(), y.to(torch.int32))).epoch(None)).y.dtype == torch.int64


def test_what_a_stream_raises_goes_on_with_a_note() -> None:
    def stream() -> Iterator[Pair]:
        yield pair()
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken") as caught:
        from_loader(stream())
    assert "batch 1" in caught.value.__notes__[0]
