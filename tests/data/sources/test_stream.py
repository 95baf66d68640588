"""Streams beyond the memory limit: the same epochs as in memory, in constant memory."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from harden.data import Source, from_loader, unlabelled
from harden.data.sources import loader_adapter
from harden.data.sources.in_memory import ExamplesSource
from harden.data.sources.read_batch import BatchReader
from harden.data.sources.stream import StreamSource
from harden.errors import InputError

IMAGE = 16 * 4  # bytes of one image (1, 4, 4) in float32


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Stream:
    """Batches of images filled with k / n, made on request; begins anew at each iter()."""

    def __init__(
        self, n: int = 100, batch: int = 7, classes: int = 4, dtype: torch.dtype = torch.float32
    ) -> None:
        self.n, self.batch, self.classes, self.dtype, self.passes = n, batch, classes, dtype, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes += 1
        for start in range(0, self.n, self.batch):
            k = torch.arange(start, min(start + self.batch, self.n))
            if self.dtype == torch.float32:
                x = (k / self.n).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
            else:
                x = k.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).to(self.dtype)
            yield x, k % self.classes


def streamed(data: Any, monkeypatch: pytest.MonkeyPatch, images: int = 20, **options: Any) -> StreamSource:
    monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", images * IMAGE)
    source = from_loader(data, **options)
    assert isinstance(source, StreamSource)
    return source


def positions(source: Source, generator: torch.Generator | None) -> list[int]:
    return [k for batch in source.epoch(generator) for k in batch.index.tolist()]


def test_an_epoch_gives_every_example_once_with_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    source = streamed(Stream(), monkeypatch)
    assert (len(source), source.batch_size) == (100, 7)
    assert "a stream" in source.describe()
    for generator in (None, draw(1), draw(2)):
        batches = list(source.epoch(generator))
        index = torch.cat([batch.index for batch in batches])
        assert sorted(index.tolist()) == list(range(100))
        assert (index.tolist() == list(range(100))) == (generator is None)
        assert torch.equal(torch.cat([batch.x for batch in batches])[:, 0, 0, 0], index / 100)
        assert torch.equal(torch.cat([batch.y for batch in batches]), index % 4)
        assert [len(batch) for batch in batches] == [7] * 14 + [2]


def test_the_order_follows_the_generator_which_is_used_at_the_call_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = streamed(Stream(), monkeypatch)
    assert positions(source, draw(1)) == positions(source, draw(1)) != positions(source, draw(2))
    generator = draw(3)
    epoch = source.epoch(generator)
    torch.rand(5, generator=generator)
    assert [k for batch in epoch for k in batch.index.tolist()] == positions(source, draw(3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_stored_types_stay_until_a_batch_is_made(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    source = streamed(Stream(dtype=dtype), monkeypatch, images=5)
    top = 255 if dtype == torch.uint8 else 65535
    for batch in source.epoch(draw()):
        assert torch.equal(batch.x[:, 0, 0, 0], batch.index.float() / torch.tensor(float(top)))


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 40), st.integers(1, 12), st.integers(0, 99))
def test_any_lengths_give_the_set_in_batches_of_the_asked_size(
    n: int, cut: int, buffer: int, size: int, seed: int
) -> None:
    y = torch.arange(n) % 4
    every = torch.ones(n, dtype=torch.bool)
    source = StreamSource(Stream(n, cut), BatchReader("Stream"), y, every, cut, buffer).resized(size)
    in_order = list(source.epoch(None))
    assert [len(batch) for batch in in_order] == [size] * (n // size) + ([n % size] if n % size else [])
    assert torch.equal(torch.cat([batch.y for batch in in_order]), y)
    shuffled = list(source.epoch(draw(seed)))
    assert sorted(k for batch in shuffled for k in batch.index.tolist()) == list(range(n))
    assert all(len(batch) == size for batch in shuffled[:-1])
    if n > 1 and size > 1:
        assert len(shuffled[-1]) > 1


def test_hold_out_is_that_of_the_same_images_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = from_loader(Stream())
    assert isinstance(memory, ExamplesSource)
    source = streamed(Stream(), monkeypatch)
    for part, expected in zip(source.hold_out(0.2, 3), memory.hold_out(0.2, 3), strict=True):
        assert len(part) == len(expected)
        for mine, its in zip(part.epoch(None), expected.resized(7).epoch(None), strict=True):
            assert torch.equal(mine.x, its.x)
            assert torch.equal(mine.y, its.y)
            assert torch.equal(mine.index, its.index)
    rest, held = source.hold_out(0.2, 3)
    again = rest.hold_out(0.5, 1)
    values = [batch.x[:, 0, 0, 0] for part in (*again, held) for batch in part.epoch(draw())]
    assert len(set(torch.cat(values).tolist())) == 100


def test_groups_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.array([f"patient {k // 5}" for k in range(100)])
    source = streamed(Stream(), monkeypatch, groups=groups)
    rest, held = source.hold_out(0.2, 0)
    seen = [
        {groups[round(float(v) * 100)] for batch in part.epoch(None) for v in batch.x[:, 0, 0, 0]}
        for part in (rest, held)
    ]
    assert not seen[0] & seen[1]
    assert len(seen[0] | seen[1]) == 20
    with pytest.raises(InputError, match=r"groups of shape \(3,\) for 100"):
        from_loader(Stream(), groups=[1, 2, 3])


def live_images() -> int:
    """Bytes of all image tensors that are alive; what shares memory counts once."""
    found = {}
    for thing in gc.get_objects():
        if type(thing) is Tensor and thing.ndim == 4:
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def test_memory_does_not_grow_with_length(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    before, peaks = live_images(), {}
    for n in (1000, 10000):
        source = streamed(Stream(n, batch=50), monkeypatch, images=800)
        assert source.buffer == 100
        peaks[n] = max(
            live_images() - before
            for number, _ in enumerate(source.epoch(draw()))
            if number % (n // 250) == 3
        )
    assert 0 < peaks[10000] <= 800 * IMAGE / 2
    assert peaks[10000] <= peaks[1000] + 50 * IMAGE


def test_the_stream_is_read_once_before_and_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    source = streamed(stream, monkeypatch)
    assert stream.passes == 1
    source.hold_out(0.2, 0)
    source.labels()
    assert stream.passes == 1
    positions(source, draw())
    assert stream.passes == 2


def test_an_iterable_data_loader_is_a_stream_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows(IterableDataset[Any]):
        classes = ("a", "b", "c", "d")

        def __iter__(self) -> Iterator[Any]:
            for x, y in Stream():
                yield from ({"image": image, "label": label} for image, label in zip(x, y, strict=True))

    source = streamed(DataLoader(Rows(), batch_size=10), monkeypatch)
    assert source.name == "DataLoader over Rows"
    assert source.classes == ("a", "b", "c", "d")
    outside = torch.get_rng_state()
    for batch in source.epoch(draw()):
        assert torch.equal(batch.x[:, 0, 0, 0], batch.index / 100)
    assert torch.equal(torch.get_rng_state(), outside)


def test_an_iterator_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", 20 * IMAGE)
    with pytest.raises(InputError, match=r"from an iterator.*random access.*map-style"):
        from_loader(iter(Stream()))


class Changing(Stream):
    """From the second pass on: shuffled, longer, shorter, or gone."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        batches = list(super().__iter__())
        if self.passes == 1:
            return iter(batches)
        return iter(
            {
                "shuffled": batches[::-1],
                "longer": [*batches, batches[0]],
                "shorter": batches[:-1],
                "gone": [],
            }[self.how]
        )


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("shuffled", "other labels at examples 0 to"),
        ("longer", "other labels at examples 100 to 106"),
        ("shorter", "98 examples instead of 100"),
        ("gone", "0 examples instead of 100"),
    ],
)
def test_a_stream_that_comes_otherwise_is_refused(
    how: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = streamed(Changing(how), monkeypatch)
    with pytest.raises(InputError, match=rf"{says}.*would mix training and held-out images.*shuffling off"):
        list(source.epoch(draw()))


def test_what_a_stream_raises_in_a_later_pass_has_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking(Stream):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            for number, batch in enumerate(super().__iter__()):
                if self.passes > 1 and number == 4:
                    raise OSError("the disk is gone")
                yield batch

    source = streamed(Breaking(), monkeypatch)
    with pytest.raises(OSError, match="the disk is gone") as caught:
        list(source.epoch(None))
    assert "batch 4" in caught.value.__notes__[0]


def test_transforms_draw_from_the_epoch_s_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noisy(Stream):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            for x, y in super().__iter__():
                yield x * torch.rand(()) * float(np.random.rand()), y

    source = streamed(Noisy(), monkeypatch)

    def epoch(seed: int) -> Tensor:
        images = []
        for batch in source.epoch(draw(seed)):
            images.append(batch.x)
            torch.rand(1), np.random.rand()
        return torch.cat(images)

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))


def test_images_of_two_kinds_are_refused_in_a_stream_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", 2 * IMAGE)
    batches = [*Stream(), (torch.rand(2, 1, 5, 5), torch.tensor([0, 1]))]
    with pytest.raises(InputError, match="2 kinds"):
        from_loader(batches)


def test_a_stream_without_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_adapter, "MEMORY_LIMIT", 20 * IMAGE)
    source = unlabelled([x for x, _ in Stream()])
    assert isinstance(source, StreamSource)
    assert {int(y) for batch in source.epoch(draw()) for y in batch.y} == {-1}
    with pytest.raises(InputError, match="without labels"):
        source.hold_out(0.1, 0)


class Random(IterableDataset[tuple[Tensor, int]]):
    """Draws from all three global generators while it is read."""

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        for number in range(12):
            yield torch.rand(1, 2, 2) * float(np.random.rand()) * random.random(), number % 2


@pytest.mark.parametrize("limit", [2**20, 64])
@pytest.mark.parametrize("workers", [0, 1])
def test_reading_a_stream_neither_follows_nor_moves_global_states(
    monkeypatch: pytest.MonkeyPatch, limit: int, workers: int
) -> None:
    monkeypatch.setattr("harden.data.sources.loader_adapter.MEMORY_LIMIT", limit)
    seen = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        source = from_loader(DataLoader(Random(), batch_size=4, num_workers=workers))
        seen.append(torch.cat([batch.x for batch in source.epoch(None)]))
        after = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        assert torch.equal(after[0], before[0])
        assert after[1:] == before[1:]
    assert torch.equal(*seen)
