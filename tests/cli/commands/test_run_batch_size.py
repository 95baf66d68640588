"""Out of memory: which batch fits is found and said, and gone on with when asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Harden = Callable[..., Any]
FAST = ("--steps", "1", "--restarts", "1", "--eps", "1/10", "--budget", "1epochs")

MODULE = '''
import torch
from torch import nn


class Narrow(nn.Module):
    """There is room for 20 images at a time while weights learn, and for {room} otherwise."""

    def __init__(self, size, classes):
        super().__init__()
        self.head = nn.Linear(size * size, classes)

    def forward(self, x):
        if not torch.compiler.is_compiling() and len(x) > (20 if self.training else {room}):
            raise {error}
        return self.head(x.flatten(1))


def network(num_classes, image_size):
    return Narrow(image_size, num_classes)
'''
CUDA = "torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.\\nSee documentation')"
CPU = 'RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried to allocate 8 bytes.")'


@pytest.fixture
def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A module with a network for which memory is short: its spec."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(error: str = CUDA, room: int = 10_000) -> str:
        name = f"narrow_{abs(hash((str(tmp_path), error, room)))}"
        (tmp_path / f"{name}.py").write_text(MODULE.format(error=error, room=room))
        return f"{name}:network"

    return make


@pytest.mark.parametrize("error", [CUDA, CPU, "MemoryError()"])
def test_the_batch_that_fits_is_named(
    harden: Harden, npz: str, narrow: Callable[..., str], tmp_path: Path, error: str
) -> None:
    words = ("--data", npz, "--model", narrow(error), "--finetune", "standard", *FAST)
    answer = harden("run", *words, "--out", tmp_path / "deep" / "out", "--batch-size", "64")
    assert answer.code == 2
    assert answer.err == (
        "harden: batches of 64 images, which do not fit into memory; expected a batch that fits: 16 images "
        "do; write --batch-size 16, or --auto-batch to have it found\n"
    )
    assert not (tmp_path / "deep").exists()
    assert harden("run", *words, "--out", tmp_path / "out", "--batch-size", "16").code == 0


def test_auto_batch_goes_on_with_what_fits_and_says_so(
    harden: Harden, npz: str, narrow: Callable[..., str], tmp_path: Path
) -> None:
    words = ("--data", npz, "--model", narrow(room=30), "--finetune", "standard", *FAST, "--batch-size", "64")
    answer = harden("run", *words, "--out", tmp_path / "out", "--auto-batch")
    assert (answer.code, answer.err) == (0, "")
    assert "batch     16 images at a time: 64 do not fit into memory" in answer.out
    plan = json.loads((tmp_path / "out" / "checkpoint" / "plan.json").read_text())
    assert plan["data"]["batch_size"] == 16
    assert harden("verify", tmp_path / "out").code == 0


def test_auto_batch_leaves_a_batch_that_fits_as_it_is(harden: Harden, npz: str, tmp_path: Path) -> None:
    words = ("--data", npz, "--finetune", "standard", *FAST, "--batch-size", "40", "--auto-batch")
    answer = harden("run", *words, "--out", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    assert "images at a time" not in answer.out
    plan = json.loads((tmp_path / "out" / "checkpoint" / "plan.json").read_text())
    assert plan["data"]["batch_size"] == 40


def test_memory_that_runs_out_in_the_evaluation_alone_is_told_apart(
    harden: Harden, npz: str, narrow: Callable[..., str], tmp_path: Path
) -> None:
    words = ["--data", npz, "--model", narrow(room=30), "--finetune", "standard", *FAST, "--batch-size", "16"]
    words += ["--budget", "30epochs", "--lr", "0.03"]  # so that more than 30 images are right
    answer = harden("run", *words, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "training has room for its 16 images at a time" in answer.err
    assert answer.err.endswith("evaluation takes no more at a time than training\n")
    # What it took to train is not lost.
    answer = harden("run", *words, "--out", tmp_path / "out", "--auto-batch", "--resume")
    assert (answer.code, answer.err) == (0, "")


def test_a_dry_run_names_a_batch_to_try(
    harden: Harden, npz: str, narrow: Callable[..., str], tmp_path: Path
) -> None:
    words = ("--data", npz, "--model", narrow(), "--finetune", "standard", *FAST, "--batch-size", "64")
    answer = harden("run", *words, "--out", tmp_path / "out", "--dry-run")
    assert answer.code == 2
    assert "write --batch-size 32, or --auto-batch" in answer.err
    answer = harden("run", *words, "--out", tmp_path / "out", "--dry-run", "--auto-batch")
    assert (answer.code, answer.err) == (0, "")
    assert "in batches of 16" in answer.out
    assert not (tmp_path / "out").exists()


def test_evaluate_says_it_too(harden: Harden, npz: str, narrow: Callable[..., str]) -> None:
    answer = harden("evaluate", narrow(room=30), "--data", npz, "--steps", "1", "--restarts", "1")
    assert answer.code == 2
    assert answer.err == (
        "harden: batches of 256 images, which do not fit into memory; expected a batch that fits; "
        "write --batch-size 128\n"
    )
