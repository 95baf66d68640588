"""Loaders with ambiguous or invalid batches are refused, at once or at the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from harden.data import Examples, Splits, from_loader
from harden.errors import InputError


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Numbered(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 40

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return torch.full((1, 4, 4), position / 100), position % 4


def dataset(x: Any, y: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(x, y), batch_size=8)


X, Y = torch.rand(40, 1, 4, 4, generator=draw()), torch.arange(40) % 4


@pytest.mark.parametrize(
    ("loader", "says"),
    [
        (dataset(X * 255, Y), "divide by 255"),
        (dataset((X - 0.5) / 0.25, Y), "mean and std to Classifier"),
        (dataset(X.expand(-1, 3, -1, -1).permute(0, 2, 3, 1), Y), "permute"),
        (dataset(X, Y[:, None]), r"squeeze\(1\)"),
        (dataset(X, torch.eye(4)[Y]), r"argmax\(1\)"),
        (dataset(X, Y.float()), r"y\.long\(\)"),
        (dataset(X, Y - 1), "label of -1"),
        (DataLoader(TensorDataset(X), batch_size=8), "batch of 1 things"),
        (DataLoader(TensorDataset(X, Y, Y), batch_size=8), "batch of 3 things"),
        (
            DataLoader([{"scan": X[0], "grade": 0}], batch_size=1),  # type: ignore[arg-type]
            r"a dict with 'scan', 'grade'.*fields=\('scan', 'grade'\)",
        ),
        (DataLoader(Numbered(), batch_size=8, collate_fn=lambda items: (X[:3], Y[:3])), "3 images from 8"),
    ],
)
def test_a_loader_with_wrong_batches(loader: Any, says: str) -> None:
    source = from_loader(loader)
    with pytest.raises(InputError, match=says):
        list(source.epoch(draw()))


@pytest.mark.parametrize(
    ("loader", "says"),
    [
        ([], "no batches"),
        (DataLoader(TensorDataset(X[:0], Y[:0]), batch_size=8), "no examples"),
        ((X[:0], Y[:0]), "no pixels"),
        ((X, Y[:, None]), r"squeeze\(1\)"),
        ([(X, Y), (X[:, :, :2], Y)], "2 kinds"),
        ([(X[0], Y[0])], "single examples.*DataLoader"),
        ([(X, Y, Y)], "batch of 3 things"),
        (DataLoader(Numbered(), batch_size=None), "single examples"),
        ("digits", "type str"),
        (3, "type int"),
        ({"x": X}, "type dict"),
    ],
)
def test_refuses_at_once(loader: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_loader(loader)


def test_refuses_splits_and_takes_a_source() -> None:
    examples = Examples(X, Y, tuple("abcd"))
    with pytest.raises(InputError, match=r"splits\.train"):
        from_loader(Splits(examples, examples, "s"))
    source = from_loader(examples)
    assert from_loader(source) is source
    with pytest.raises(InputError, match="batch size"):
        from_loader(examples, 0)


def test_a_users_own_source_is_taken_as_it_is() -> None:
    class Own:
        batch_size = 8

        def __len__(self) -> int:
            return 40

        def epoch(self, generator: torch.Generator | None) -> Iterator[Any]:
            return iter(())

        def hold_out(self, fraction: float, seed: int) -> tuple[Own, Own]:
            return self, self

        def describe(self) -> str:
            return "own"

    own = Own()
    assert from_loader(own) is own
