"""All of harden's own sources: other batch sizes, parts, names; and workers that fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from harden.data import Examples, from_loader
from harden.data.sources.dataloader import LoaderSource
from harden.data.sources.in_memory import ExamplesSource
from harden.data.sources.read_batch import BatchReader
from harden.data.sources.stream import StreamSource
from harden.errors import InputError

X = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 3

Own = ExamplesSource | LoaderSource | StreamSource


def own_sources() -> dict[str, Own]:
    every = torch.ones(30, dtype=torch.bool)
    batches = [(X[:16], Y[:16]), (X[16:], Y[16:])]
    loader = from_loader(DataLoader(TensorDataset(X, Y), batch_size=7))
    assert isinstance(loader, LoaderSource)
    return {
        "memory": ExamplesSource(Examples(X, Y, tuple("abc"), "mine"), 7),
        "loader": loader,
        "stream": StreamSource(batches, BatchReader("list"), Y, every, 7, 12, tuple("abc")),
    }


@given(st.sampled_from(["memory", "loader", "stream"]), st.integers(1, 40), st.integers(0, 5))
def test_resized_keeps_the_set(kind: str, size: int, seed: int) -> None:
    source = own_sources()[kind]
    other = source.resized(size)
    assert (type(other), len(other), other.batch_size) == (type(source), 30, size)
    assert source.batch_size == 7
    for generator in (None, torch.Generator().manual_seed(seed)):
        batches = list(other.epoch(generator))
        index = torch.cat([batch.index for batch in batches])
        assert sorted(index.tolist()) == list(range(30))
        assert all(torch.equal(batch.x, X[batch.index]) for batch in batches)
        assert all(len(batch) == size for batch in batches[:-1])
    parts: list[Any] = [*other.hold_out(0.2, seed), *source.hold_out(0.2, seed)]
    assert [part.batch_size for part in parts] == [size, size, 7, 7]
    assert all(torch.equal(parts[k].labels(), parts[k + 2].labels()) for k in (0, 1))


@given(st.sampled_from(["memory", "loader", "stream"]), st.sets(st.integers(0, 29), min_size=1))
def test_a_part_counts_its_positions_anew(kind: str, chosen: set[int]) -> None:
    index = torch.tensor(sorted(chosen))
    part = own_sources()[kind].take(index)
    batches = list(part.epoch(None))
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(len(chosen)))
    assert torch.equal(torch.cat([batch.x for batch in batches]), X[index])
    assert torch.equal(part.labels(), Y[index])


@pytest.mark.parametrize("kind", ["memory", "loader", "stream"])
def test_a_batch_size_below_one_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match="batch size of 0"):
        own_sources()[kind].resized(0)


class Pictures(TensorDataset):
    """As torchvision's sets: with the names of its classes."""

    classes = ("cat", "dog", "hen")

    def __init__(self) -> None:
        super().__init__(X, Y)


@pytest.mark.parametrize(
    ("data", "name", "classes"),
    [
        (Examples(X, Y, tuple("abc"), "mine"), "mine", ("a", "b", "c")),
        ((X, Y), "(x, y)", ("0", "1", "2")),
        (Pictures(), "DataLoader over Pictures", ("cat", "dog", "hen")),
        (Subset(Pictures(), range(9)), "DataLoader over Pictures", ("cat", "dog", "hen")),
        (ConcatDataset([Pictures(), Pictures()]), "DataLoader over ConcatDataset", ("cat", "dog", "hen")),
        (ConcatDataset([Pictures(), TensorDataset(X, Y)]), "DataLoader over ConcatDataset", None),
        (TensorDataset(X, Y), "DataLoader over TensorDataset", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sources_tell_their_name_and_classes(data: Any, name: str, classes: tuple[str, ...] | None) -> None:
    source: Any = from_loader(data)
    assert source.name == name
    assert source.classes == classes
    rest, held = source.hold_out(0.3, 0)
    assert rest.classes == held.classes == classes
    assert name in source.describe()


def test_names_of_a_stream_in_memory_and_names_that_do_not_fit() -> None:
    class Rows(IterableDataset[Any]):
        classes = ("cat", "dog", "hen")

        def __iter__(self) -> Iterator[Any]:
            return iter(zip(X, Y, strict=True))

    kept: Any = from_loader(DataLoader(Rows(), batch_size=8))
    assert kept.classes == ("cat", "dog", "hen")

    class Few(Rows):
        classes = ("cat", "dog")  # type: ignore[assignment]  # a set whose names are wrong

    few: Any = from_loader(DataLoader(Few(), batch_size=8))
    assert few.classes == ("0", "1", "2")

    class Mapped(Pictures):
        target_transform = staticmethod(lambda label: 2 - label)

    mapped: Any = from_loader(Mapped())
    assert mapped.classes is None  # what the names would be in the order of is not what comes out


class Deadly(Dataset[tuple[Tensor, int]]):
    def __init__(self, end: str) -> None:
        self.end = end

    def __len__(self) -> int:
        return 40

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        if position == 24 and self.end == "killed":
            time.sleep(0.5)  # until the other side blocks on this batch
            os.kill(os.getpid(), signal.SIGKILL)
        if position == 24:
            raise MemoryError("no room for image 24")
        return X[0], position % 4


DIES = """
import runpy, sys, torch
from torch.utils.data import DataLoader
from harden.data import from_loader
Deadly = runpy.run_path(sys.argv[1])["Deadly"]
source = from_loader(DataLoader(Deadly("killed"), batch_size=8, num_workers=1))
try:
    list(source.epoch(None))
except Exception as error:
    print(*error.__notes__)
"""


def test_a_worker_that_dies_says_in_which_batch() -> None:
    # In a process of its own: torch reports a dead worker by a signal, whatever runs at that moment.
    ran = subprocess.run([sys.executable, "-c", DIES, __file__], capture_output=True, text=True, check=False)
    assert re.search(r"\(DataLoader over Deadly\) while it made batch [0-3]", ran.stdout)
    assert "a worker process ended; most often it was out of memory" in ran.stdout


@pytest.mark.parametrize("workers", [0, 1])
def test_running_out_of_memory_says_in_which_batch(workers: int) -> None:
    source = from_loader(DataLoader(Deadly("raises"), batch_size=8, num_workers=workers))
    outside = torch.get_rng_state()
    seen = []
    with pytest.raises(MemoryError, match="no room for image 24") as caught:
        seen += [len(batch) for batch in source.epoch(torch.Generator().manual_seed(0)) if len(batch)]
    assert "while it made batch" in caught.value.__notes__[0]
    assert torch.equal(torch.get_rng_state(), outside)


def test_persistent_workers_begin_anew_and_give_the_same_epochs() -> None:
    def values(source: Any, seed: int) -> list[int]:
        return [int(k) for b in source.epoch(torch.Generator().manual_seed(seed)) for k in b.index]

    loader = DataLoader(TensorDataset(X, Y), batch_size=8, num_workers=1, persistent_workers=True)
    source = from_loader(loader)
    assert values(source, 1) == values(source, 1) != values(source, 2)


def test_a_loader_that_cannot_begin_says_so() -> None:
    class Closed:
        def __iter__(self) -> Iterator[Any]:
            raise OSError("the archive is closed")

    with pytest.raises(OSError, match="archive is closed") as caught:
        from_loader(Closed())
    assert "batch 0" in caught.value.__notes__[0]
