"""One of several processes is refused, by library and commands, before it blocks on the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import harden
from harden.cli import main
from harden.data import from_loader
from harden.errors import InputError
from harden.objectives import Standard
from harden.system.single_process import check_alone
from harden.training import Budget, Stage, train

ROOT = Path(__file__).parents[2]
SET = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SET:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": ""}, {"RANK": ""}])
def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_alone()


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "0", "WORLD_SIZE": "2"},
        {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"},
        {"WORLD_SIZE": "8"},
        {"RANK": "0"},
        {"OMPI_COMM_WORLD_SIZE": "4"},
    ],
)
def test_one_of_several_is_refused_by_the_library(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    model = harden.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    data = torch.rand(8, 1, 2, 2), torch.arange(8) % 2
    with pytest.raises(InputError) as refused:
        harden.harden(model, data, threat=harden.Linf("1/10"), budget="1epochs")
    for name, value in environment.items():
        assert f"{name}={value}" in refused.value.seen
        assert f"-u {name}" in refused.value.instead
    stage = Stage("one", Standard(), Budget.parse("1epochs"))
    with pytest.raises(InputError, match="one process"):
        next(train(stage, model, from_loader(data), harden.Linf("1/10")))


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--data", "digits", "--out", "out"],
        ["demo", "--out", "out"],
        ["-v", "demo", "--out", "out"],
        ["evaluate", "small", "--data", "digits"],
        ["certify", "x.onnx", "--data", "digits"],
        ["export", "small", "--data", "digits", "--out", "out"],
        ["check", "x.onnx", "--data", "digits"],
        ["baseline", "update", "x.onnx", "--data", "digits"],
    ],
    ids=" ".join,
)
def test_every_command_that_works_refuses_in_one_line(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith("harden: WORLD_SIZE=2 in the environment")
    assert (said.err.count("\n"), said.out) == (1, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["run", "--help"], ["doctor"]], ids=" ".join)
def test_what_only_tells_is_told_to_any_process(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert main(words) in ((0, 1) if words == ["doctor"] else (0,))
    assert "one process" not in capsys.readouterr().err


@pytest.mark.slow
def test_torchrun_ends_by_itself(tmp_path: Path) -> None:
    """Without the refusal both ranks block in a rendezvous, for minutes, and react to no signal."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words += [
        "-m",
        "harden",
        "demo",
        "--out",
        str(tmp_path / "out"),
    ]
    running = subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = running.communicate(timeout=120)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            time.sleep(0)
    assert running.returncode != 0
    lines = [line for line in said.splitlines() if "harden: RANK=" in line]
    assert 1 <= len(lines) <= 2  # torchrun ends the other rank once one has
    assert "Traceback" not in "".join(lines)
    assert not (tmp_path / "out").exists()
