from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harden.cli import main
from harden.data import load


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


Harden = Callable[..., Answer]
FAST = ("--steps", "3", "--restarts", "1")


@pytest.fixture
def harden(capfd: pytest.CaptureFixture[str]) -> Harden:
    """Runs `harden ARGV` in this process."""

    def run(*words: object) -> Answer:
        capfd.readouterr()
        code = main([str(word) for word in words])
        said = capfd.readouterr()
        return Answer(code, said.out, said.err)

    return run


@pytest.fixture(scope="session", autouse=True)
def _hear_interrupts() -> None:
    """A shell starts what runs in its background with SIGINT ignored, and that is handed down to children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """For the installed command in a process of its own: one thread, so that tests can run side by side."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}


@pytest.fixture(scope="session")
def command() -> str:
    """The installed script."""
    path = Path(sys.executable).with_name("harden")
    if not path.is_file():
        pytest.fail("the `harden` command is not installed beside this Python; pip install -e .")
    return str(path)


@pytest.fixture(scope="session")
def installed(command: str, environment: dict[str, str]) -> Harden:
    """Runs the installed command in a process of its own."""

    def run(*words: object, cwd: Path | None = None, **more: str) -> Answer:
        done = subprocess.run(
            [command, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=cwd,
            env={**environment, **more},
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def npz(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data spec: 240 digits to train on, 40 to test on."""
    splits = load("digits")
    path = tmp_path_factory.mktemp("data") / "few.npz"
    arrays = {}
    for part, n in (("train", 240), ("test", 40)):
        examples = getattr(splits, part)
        arrays[f"x_{part}"] = examples.x[:n].permute(0, 2, 3, 1).numpy()
        arrays[f"y_{part}"] = examples.y[:n].numpy()
    np.savez(path, **arrays)
    return f"npz:{path}"


@pytest.fixture(scope="session")
def run_words(npz: str) -> list[str]:
    """A run that takes seconds, but for where it goes."""
    words = ["run", "--data", npz, "--eps", "1/10", "--budget", "4epochs", "--finetune", "standard", *FAST]
    return [*words, "--lr", "0.003", "--batch-size", "32"]


@pytest.fixture(scope="session")
def finished(run_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one `harden run`; those who change it copy it."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert main([*run_words, "--out", str(out), "--json", str(out.parent / "run.json")]) == 0
    return out


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run's folder."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user's, in the working folder: its name."""
    name = f"mine_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


MODULE = '''
import torch
from torch import nn


class Quantised(nn.Module):
    """Rounds its input: gradients are zero, and a naive attack finds nothing."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head((x * 4).round().flatten(1) / 4)


def quantised():
    return Quantised()


def sized(in_channels, num_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))


class Noisy(Quantised):
    """Draws when it is asked, as dropout that stays on does."""

    def forward(self, x):
        return self.head(x.flatten(1)) + torch.randn(())


def noisy():
    return Noisy()


def text():
    return "a network"
'''
