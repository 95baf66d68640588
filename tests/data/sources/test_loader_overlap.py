"""Examples that two loaders share are found by the stored data, independent of transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from harden.data import from_loader
from harden.data.sources.loader_overlap import shared_examples

X, Y = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2


class Noisy(Dataset[tuple[Tensor, int]]):
    """Random images, of which the dataset keeps nothing, files, or pixels."""

    def __init__(self, n: int = 20, **stored: Any) -> None:
        self.n = n
        vars(self).update(stored)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.rand(1, 4, 4), index % 2


def shared(train: Any, test: Any) -> int:
    return shared_examples(from_loader(train), from_loader(test))


def test_places_in_one_dataset() -> None:
    whole = Noisy()
    assert shared(whole, whole) == 20
    assert shared(Subset(whole, range(15)), Subset(whole, range(10, 20))) == 5
    assert shared(Subset(Subset(whole, range(5, 20)), [0, 1]), Subset(whole, [5, 7])) == 1
    assert shared(Subset(whole, range(10)), Subset(whole, range(10, 20))) == 0
    assert shared(ConcatDataset([Noisy(), whole]), Subset(whole, [3])) == 1
    assert shared(Noisy(), Noisy()) == 0


def test_files(tmp_path: Path) -> None:
    files = [(str(tmp_path / f"{k}.png"), 0) for k in range(20)]
    (tmp_path / "link").symlink_to(tmp_path)
    linked = [(str(tmp_path / "link" / f"{k}.png"), 1) for k in range(18, 30)]
    assert shared(Noisy(samples=files), Noisy(12, samples=linked)) == 2


def test_stored_pixels() -> None:
    pixels = torch.randint(256, (20, 8, 8, 3), dtype=torch.uint8)
    assert shared(Noisy(data=pixels), Noisy(4, data=pixels[:4].clone())) == 4
    assert shared(Noisy(data=pixels.numpy()), Noisy(4, data=255 - pixels[:4].numpy())) == 0
    assert shared(TensorDataset(X, Y), TensorDataset(X[:3].clone(), Y[:3])) == 3


@pytest.mark.parametrize("data", [(X, Y), [(X, Y)]])
def test_what_is_in_memory_is_compared_by_content_elsewhere(data: Any) -> None:
    assert shared_examples(from_loader(data), from_loader(TensorDataset(X, Y))) == 0


def test_random_transforms_are_told() -> None:
    steady, noisy = from_loader(TensorDataset(X, Y)), from_loader(Noisy())
    assert steady.repeats()  # type: ignore[attr-defined]
    assert not noisy.repeats()  # type: ignore[attr-defined]
