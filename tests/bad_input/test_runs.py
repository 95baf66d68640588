"""Runs that can't begin or go on: budgets below an epoch, loaders and workers that fail in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import harden
from harden.data import from_loader
from harden.hardening import Recipe
from harden.models.small_networks import small_cnn
from harden.objectives import Standard
from harden.training import Checkpoints
from tests.bad_input.table import (
    DOORS,
    FAST,
    RUN,
    Answer,
    Row,
    built,
    by_harden,
    check_line,
    classes,
    ids,
    listing,
    pictures,
    refused,
)

X, Y = pictures(), classes()
FAR = "at least one epoch to fine-tune in"


class DiskError(Exception):
    """A user's own."""


class Breaking(Dataset[tuple[Tensor, int]]):
    """Raises, or ends its process, at one example; its labels are known without reading."""

    def __init__(self, at: int = 21, dies: bool = False) -> None:
        self.at, self.dies, self.targets = at, dies, Y.tolist()

    def __len__(self) -> int:
        return 40

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        if position == self.at:
            if self.dies:
                time.sleep(0.5)  # so that the other side waits for it
                os._exit(3)
            raise DiskError("the disk is gone")
        return X[position], int(Y[position])


def stream() -> Iterator[tuple[Tensor, Tensor]]:
    """Batches, of which the third can't be read."""
    yield X[:10], Y[:10]
    yield X[10:20], Y[10:20]
    raise DiskError("the disk is gone")


BUDGETS = [
    Row(
        "below-one-epoch",
        lambda _: by_harden((X, Y), budget="0.5epochs"),
        "a budget of which finetune gets 0.5epochs, where one epoch costs 1epochs",
        FAR,
        "write a budget 2 times as large, or fewer steps in the attack",
    ),
    Row(
        "below-one-epoch-in-passes",
        lambda _: by_harden((X, Y), budget="0.25E"),
        "a budget of which finetune gets 0.25E, where one epoch costs 1E",
        FAR,
        "write a budget 4 times as large, or fewer steps in the attack",
    ),
    Row(
        "checkpoints-in-a-file",
        lambda place: by_harden((X, Y), checkpoints=Checkpoints(place / "file")),
        "{place}/file: File exists",
        "a folder that can be written",
        "name another one",
    ),
    Row(
        "below-one-epoch-with-checkpoints",
        lambda place: by_harden((X, Y), budget="0.5epochs", checkpoints=Checkpoints(place / "progress")),
        "a budget of which finetune gets 0.5epochs, where one epoch costs 1epochs",
        FAR,
        "write a budget 2 times as large, or fewer steps in the attack",
    ),
    Row(
        "nothing-to-train-with-checkpoints",
        lambda place: by_harden(
            (X, Y),
            built(lambda: small_cnn().requires_grad_(False)),
            checkpoints=Checkpoints(place / "progress"),
        ),
        "a network whose parameters are all frozen",
        "trainable parameters",
        "write requires_grad_(True)",
    ),
]


@pytest.mark.parametrize("row", ids(BUDGETS))
def test_runs(row: Row, place: Path) -> None:
    (place / "file").write_text("in the way")
    refused(row, place)


@pytest.mark.parametrize("door", DOORS)
def test_a_loader_that_raises_in_the_middle(door: str, place: Path) -> None:
    """The user's own exception, with the batch; in order it is the third one of 10."""
    before = listing(place)
    with pytest.raises(DiskError) as caught:
        DOORS[door](stream())
    assert str(caught.value) == "the disk is gone"
    assert caught.value.__notes__ == [
        "raised by the data loader (generator) while it made batch 2, counted from 0"
    ]
    assert listing(place) == before


@pytest.mark.parametrize("door", DOORS)
def test_a_dataset_that_raises_without_workers(door: str, place: Path) -> None:
    before = listing(place)
    with pytest.raises(DiskError) as caught:
        DOORS[door](DataLoader(Breaking(at=3), batch_size=8, num_workers=0))
    assert str(caught.value) == "the disk is gone"
    assert caught.value.__notes__ == [
        "raised by the data loader (DataLoader over Breaking) while it made batch 0, counted from 0"
    ]
    assert listing(place) == before


def test_the_batch_is_named_where_it_is_not_the_first(place: Path) -> None:
    with pytest.raises(DiskError) as caught:
        list(from_loader(DataLoader(Breaking(), batch_size=8)).epoch(None))
    assert caught.value.__notes__ == [
        "raised by the data loader (DataLoader over Breaking) while it made batch 2, counted from 0"
    ]
    assert listing(place) == {}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_worker_that_raises(place: Path) -> None:
    with pytest.raises(DiskError, match="the disk is gone") as caught:
        by_harden(DataLoader(Breaking(), batch_size=8, num_workers=1))
    assert caught.value.__notes__[0].startswith("raised by the data loader (DataLoader over Breaking)")
    assert listing(place) == {}


DYING = """
from torch.utils.data import DataLoader
from harden.data import from_loader
from tests.bad_input.test_runs import Breaking

try:
    list(from_loader(DataLoader(Breaking(dies=True), batch_size=8, num_workers=1)).epoch(None))
except RuntimeError as error:
    print(error, *error.__notes__, sep="|")
"""


def test_a_worker_that_dies_in_the_middle_of_an_epoch(place: Path) -> None:
    """In a process of its own: torch raises in a handler of signals, which may be in anybody's code."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", DYING], capture_output=True, text=True, timeout=60, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
    reason, batch, worker = done.stdout.strip().split("|")
    assert "DataLoader worker" in reason
    assert (
        batch == "raised by the data loader (DataLoader over Breaking) while it made batch 2, counted from 0"
    )
    assert worker == "a worker process ended; most often it was out of memory, and num_workers=0 shows more"
    assert listing(place) == {}


def test_the_model_is_left_as_it_was(place: Path) -> None:
    model = built()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DiskError):
        harden.harden(
            model,
            DataLoader(Breaking(), batch_size=8),
            threat=harden.Linf("8/255"),
            recipe=Recipe(finetune=Standard(), validations=0),
            budget="2epochs",
        )
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert listing(place) == {}


MODULE = """
import absent_dependency_of_mine
"""
DATA = """
def fails():
    raise KeyError("no such\\ncolumn")
def gone():
    raise FileNotFoundError(2, "No such file or directory", "train.csv")
def number():
    return 3
"""
READ = "data that can be read"
WHERE = "call it in Python, or write -v, to see where it fails"
COMMANDS: list[tuple[Any, ...]] = [
    (["--data", "source:fails"], "source:fails raised KeyError (…)", READ, WHERE),
    (["--data", "source:gone"], "source:gone raised FileNotFoundError (…)", READ, WHERE),
    (["--data", "broken:load"], "broken:load raised ModuleNotFoundError (…)", READ, WHERE),
    (
        ["--data", "source:number"],
        "source:number returned int",
        "harden.data.Splits, the tuple (x_train, y_train, x_test, y_test) or a dict with these keys",
        "return one of them",
    ),
    (
        ["--data", "npz:good.npz", "--budget", "0.5epochs", "--batch-size", "8"],
        "a budget of which finetune gets 0.5epochs, where one epoch costs 1epochs",
        FAR,
        "write a budget 2 times as large, or fewer steps in the attack",
    ),
]


@pytest.mark.parametrize(
    ("words", "seen", "expected", "instead"), COMMANDS, ids=[" ".join(row[0]) for row in COMMANDS]
)
def test_runs_on_the_command_line(
    words: list[str],
    seen: str,
    expected: str,
    instead: str,
    stocked: Path,
    command: Callable[..., Answer],
) -> None:
    (stocked / "source.py").write_text(DATA)
    (stocked / "broken.py").write_text(MODULE)
    before = listing(stocked)
    check_line(command("run", *RUN, *FAST, *words), seen, expected, instead, stocked)
    assert listing(stocked) == before
