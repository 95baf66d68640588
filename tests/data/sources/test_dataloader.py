"""Epochs of a DataLoader: positions, transforms, parts and refused samplers."""

from __future__ import annotations

import random
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
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from harden.data import from_loader
from harden.errors import InputError


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
    def collate(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        return torch.stack([1 - x for x, _ in items]), torch.tensor([y for _, y in items])

    batch = next(from_loader(numbered_loader(collate_fn=collate)).epoch(None))
    assert torch.allclose(batch.x[:, 0, 0, 0], 1 - batch.index / 100)


def test_drop_last_holds_for_shuffled_epochs_only() -> None:
    source = from_loader(numbered_loader(drop_last=True))
    assert [len(batch) for batch in source.epoch(draw())] == [16, 16]
    assert sum(len(batch) for batch in source.epoch(None)) == 40  # an evaluation must see all


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
