from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from harden.data import Examples, Source, from_loader
from harden.data.sources import loader_adapter
from harden.errors import InputError

Pair = tuple[Tensor, Tensor]


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair(n: int = 40) -> Pair:
    return torch.rand(n, 1, 4, 4, generator=draw()), torch.arange(n) % 4


class Numbered(Dataset[tuple[Tensor, int]]):
    """Image k is filled with k / 100; `targets` on request; counts what is read."""

    def __init__(self, n: int = 40, targets: bool = False, noisy: bool = False) -> None:
        self.n, self.noisy, self.read = n, noisy, 0
        if targets:
            self.targets = [k % 4 for k in range(n)]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        self.read += 1
        x = torch.full((1, 4, 4), position / 100)
        if self.noisy:
            x = x + 0.001 * torch.rand(1) + 0.001 * random.random() + 0.001 * float(np.random.rand())
        return x, position % 4


def numbered_loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(Numbered(), **{"batch_size": 16} | options)


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


@pytest.mark.parametrize("workers", [0, 2])
def test_positions_stay_with_their_examples(workers: int) -> None:
    source = from_loader(numbered_loader(num_workers=workers, shuffle=True))
    for batch in source.epoch(draw()):
        assert torch.allclose(batch.x[:, 0, 0, 0], batch.index / 100)
    _, held = source.hold_out(0.25, 0)
    values = torch.cat([batch.x[:, 0, 0, 0] for batch in held.epoch(draw())])
    assert len(set(values.tolist())) == 10


@pytest.mark.parametrize("workers", [0, 2])
def test_transforms_are_seeded_and_global_states_left_as_found(workers: int) -> None:
    source = from_loader(DataLoader(Numbered(noisy=True), batch_size=16, num_workers=workers))

    def epoch(seed: int) -> Tensor:
        images = []
        for batch in source.epoch(draw(seed)):
            images.append(batch.x[batch.index.argsort()])
            torch.rand(1), random.random(), np.random.rand()  # whatever else draws must not matter
        return torch.cat(images)

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    list(source.epoch(draw(1)))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_the_users_collate_is_kept() -> None:
    def collate(items: list[tuple[Tensor, int]]) -> Pair:
        return torch.stack([1 - x for x, _ in items]), torch.tensor([y for _, y in items])

    batch = next(from_loader(numbered_loader(collate_fn=collate)).epoch(None))
    assert torch.allclose(batch.x[:, 0, 0, 0], 1 - batch.index / 100)


def test_drop_last_holds_for_shuffled_epochs_only() -> None:
    source = from_loader(numbered_loader(drop_last=True))
    assert [len(batch) for batch in source.epoch(draw())] == [16, 16]
    assert sum(len(batch) for batch in source.epoch(None)) == 40  # an evaluation must see all


@pytest.mark.parametrize("kind", ["tensors", "data loader"])
def test_no_batch_of_one_in_training(kind: str) -> None:
    x, y = pair(33)
    source = from_loader((x, y) if kind == "tensors" else DataLoader(TensorDataset(x, y), batch_size=16), 16)
    assert [len(batch) for batch in source.epoch(draw())] == [16, 17]
    assert [len(batch) for batch in source.epoch(None)] == [16, 16, 1]


def test_labels_are_taken_where_they_are_stored_and_read_once_otherwise() -> None:
    datasets: list[Dataset[Any]] = [
        Numbered(targets=True),
        Subset(Numbered(targets=True), range(40)),
        ConcatDataset([Numbered(20, targets=True), Numbered(20, targets=True)]),
    ]
    for dataset in datasets:
        from_loader(DataLoader(dataset, batch_size=8)).hold_out(0.25, 0)
    known, bare = Numbered(targets=True), Numbered()
    from_loader(DataLoader(known, batch_size=8)).hold_out(0.25, 0)
    assert known.read == 0
    _, held = from_loader(DataLoader(bare, batch_size=8)).hold_out(0.25, 0)
    assert bare.read == 40
    assert sorted(torch.cat([b.y for b in held.epoch(None)]).bincount().tolist()) == [2, 2, 3, 3]


def test_a_subset_is_not_left() -> None:
    chosen = [5, 9, 12, 30]
    for loader in (
        DataLoader(Subset(Numbered(), chosen), batch_size=2),
        DataLoader(Numbered(), batch_size=2, sampler=SubsetRandomSampler(chosen)),
    ):
        batches = list(from_loader(loader).epoch(None))
        assert torch.allclose(torch.cat([b.x[:, 0, 0, 0] for b in batches]), torch.tensor(chosen) / 100)
        assert torch.cat([b.index for b in batches]).tolist() == [0, 1, 2, 3]


def test_a_batch_sampler_of_torch_is_understood() -> None:
    sampler = BatchSampler(RandomSampler(range(40)), batch_size=10, drop_last=True)
    source = from_loader(DataLoader(Numbered(), batch_sampler=sampler))
    assert (len(source), source.batch_size) == (40, 10)


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": WeightedRandomSampler([1.0] * 40, 40)},
        {"sampler": RandomSampler(range(40), replacement=True)},
        {"sampler": SequentialSampler(range(10))},
        {"batch_sampler": [[0, 1], [2, 3]]},
    ],
    ids=["weighted", "replacement", "part", "own batches"],
)
def test_refuses_samplers_that_choose(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="chooses or repeats"):
        from_loader(DataLoader(Numbered(), **options))


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


class Failing(Numbered):
    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        if position == 20:
            raise FileNotFoundError("image 20 is gone")
        return super().__getitem__(position)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_loader_raises_goes_on_with_a_note(workers: int) -> None:
    source = from_loader(DataLoader(Failing(), batch_size=8, num_workers=workers))
    with pytest.raises(FileNotFoundError, match="image 20 is gone") as caught:
        list(source.epoch(None))
    assert "DataLoader over Failing" in caught.value.__notes__[0]
    assert "batch 2" in caught.value.__notes__[0]


def test_what_a_stream_raises_goes_on_with_a_note() -> None:
    def stream() -> Iterator[Pair]:
        yield pair()
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken") as caught:
        from_loader(stream())
    assert "batch 1" in caught.value.__notes__[0]


def test_stored_targets_are_not_the_labels_of_a_set_that_transforms_them() -> None:
    class Parity(Numbered):
        target_transform = staticmethod(lambda label: label % 2)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            x, y = super().__getitem__(index)
            return x, y % 2

    source = from_loader(DataLoader(Parity(targets=True), batch_size=8))
    rest, held_out = source.hold_out(0.25, 0)
    labels = torch.cat([batch.y for batch in held_out.epoch(None)])
    assert labels.bincount().tolist() == [5, 5]
    assert len(rest) == 30
