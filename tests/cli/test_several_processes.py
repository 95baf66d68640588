"""`harden run` as several processes: one speaks and writes, and the weights are those of one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.processes import ROOT, ended, started
from tests.training.several.cases import apart

WORDS = ["-m", "harden", "run", "--data", "npz:thirds.npz", "--batch-size", "32", "--attacks", "pgd"]
WORDS += ["--steps", "3", "--restarts", "1", "--prove", "none", "--out", "out"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images of three classes."""
    generator = np.random.default_rng(0)
    parts: dict[str, Any] = {}
    for name, count in (("train", 240), ("test", 60)):
        y = np.arange(count) % 3
        x = generator.integers(0, 100, (count, 12, 12, 3), dtype=np.uint8)
        for label in range(3):
            x[y == label, 3 * label : 3 * label + 4] += 110
        parts |= {f"x_{name}": x, f"y_{name}": y}
    np.savez(tmp_path / "thirds.npz", **parts)
    return tmp_path


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def alone(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS` as one process."""
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch-size", "33"], "batches of 33 images for 2 processes; expected the same number"),
        pytest.param(
            ["--auto-batch"], "--auto-batch in 2 processes; expected one process", marks=pytest.mark.slow
        ),
        pytest.param(["--norm", "l7"], "norm 'l7'", marks=pytest.mark.slow),
        pytest.param(["--dry-run"], "RANK=", marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_one_process_says_what_is_wrong_and_nothing_is_written(
    words: list[str], said: str, folder: Path
) -> None:
    answers = ended(started([*WORDS, *words], 2, cwd=folder))
    assert [code for code, _, _ in answers] == [2, 2]
    lines = "".join(error for _, _, error in answers).splitlines()
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert lines[0].count(";") >= 2
    assert "".join(output for _, output, _ in answers) == ""
    assert [path.name for path in folder.iterdir()] == ["thirds.npz"]


def test_different_data_is_refused_in_one_line(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    arrays = dict(np.load(folder / "thirds.npz"))
    arrays["x_train"][5, 0, 0, 0] ^= 1
    np.savez(other / "thirds.npz", **arrays)
    running = started(WORDS, 2, cwd=[folder, other])
    (code, _, said), (other_code, nothing, silence) = ended(running)
    assert (code, other_code) == (2, 2)
    assert len([*said.splitlines(), *silence.splitlines()]) == 1
    assert "process 1 of 2, which differs from the first one in data." in said + silence
    assert nothing == ""
    assert [path.name for path in folder.iterdir()] == ["thirds.npz"]


@pytest.mark.slow
def test_torchrun_makes_the_artefact_of_one_process(folder: Path) -> None:
    words = [*WORDS, "--budget", "6E"]
    several = alone([*TORCHRUN, *words, "--out", "two"], folder)
    assert several.returncode == 0, several.stderr
    # One process speaks: every line that a run says once is there once.
    assert several.stdout.count("files in two/") == several.stdout.count("data ") == 1
    one = alone(words, folder)
    assert one.returncode == 0, one.stderr
    weights = [load_file(folder / name / "checkpoint" / "weights.safetensors") for name in ("out", "two")]
    assert apart(*weights) <= 1e-5
    assert alone(["-m", "harden", "verify", "two"], folder).returncode == 0
    again = alone([*TORCHRUN, *words, "--out", "two", "--resume"], folder)
    assert again.returncode == 0
    assert again.stdout.count("this run has ended before") == 1


@pytest.mark.once
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_and_resume_goes_on(folder: Path, victim: int) -> None:
    words = [*WORDS, "--budget", "400E", "--checkpoint-every", "0.2"]
    running = started(words, 2, cwd=folder)
    stored = folder / "out" / "progress" / "state.safetensors"
    began = time.monotonic()
    while not stored.exists() and time.monotonic() - began < 300:
        time.sleep(0.05)
    running[victim].send_signal(signal.SIGKILL)
    answers = ended(running, 300)
    assert answers[victim][0] == -9
    code, _, said = answers[1 - victim]
    assert code == 2
    assert [line for line in said.splitlines() if "no answer of another of the 2 processes" in line]
    assert len(said.splitlines()) == 1, said
    assert stored.exists()
    assert not (folder / "out" / "model.onnx").exists()
    for code, _, said in ended(started([*words, "--resume"], 2, cwd=folder), 300):
        assert (code, said) == (0, "")
    assert (folder / "out" / "certificate.json").exists()
