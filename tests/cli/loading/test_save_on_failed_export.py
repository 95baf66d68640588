"""What was trained is not lost: where the export fails after training, its weights can be exported later."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import harden.hardening.hardened as hardened_module
from harden.artefact.artefact import load
from harden.errors import ExportError
from harden.training.checkpointing.weights_file import WEIGHTS_FILE

Harden = Callable[..., Any]
FAST = (
    "--budget",
    "1epochs",
    "--finetune",
    "standard",
    "--steps",
    "2",
    "--restarts",
    "1",
    "--test-images",
    "20",
)
NETS = """
import torch
from torch import nn

class Turning(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.fc, self.steps = nn.Linear(64, num_classes), 0

    def forward(self, x):
        if self.training:
            self.steps += 1
        x = x.flatten(1)
        return self.fc(torch.lgamma(x + 2) if self.steps else x)
"""


def command_in(text: str) -> list[str]:
    """The words of the command that a message tells, after `harden`."""
    words = shlex.split(text.partition("to export: ")[2])
    assert words[0] == "harden"
    return words[1:]


def test_a_network_that_training_makes_unfit_keeps_its_weights(
    harden: Harden, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "turning_nets.py").write_text(NETS)
    answer = harden(
        "run", "--data", npz, "--model", "turning_nets:Turning", "--out", "out", "--eps", "1/20", *FAST
    )
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "aten.lgamma" in answer.err
    assert not (tmp_path / "out" / "model.onnx").exists()
    words = command_in(answer.err)
    assert words[:2] == ["export", "out/progress"]
    assert words[-2:] == ["--out", "out-exported"]
    assert harden(*words).code in (0, 1)
    found = load(tmp_path / "out-exported")
    assert found.certificate.predicate.threat.eps == "1/20"
    assert found.certificate.predicate.data.n == 20
    kept = (tmp_path / "out" / "progress" / "checkpoint" / WEIGHTS_FILE).read_bytes()
    assert (tmp_path / "out-exported" / "checkpoint" / WEIGHTS_FILE).read_bytes() == kept


@pytest.mark.parametrize(
    "error", [ExportError("seen", "expected", "instead"), RuntimeError("a fault of ours")]
)
def test_whatever_fails_after_training_the_weights_stay_and_the_command_is_told(
    harden: Harden, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(hardened_module, "export", fail)
        answer = harden("run", "--data", npz, "--out", tmp_path / "out", *FAST)
    ours = isinstance(error, RuntimeError)
    assert answer.code == (70 if ours else 2)
    assert harden(*command_in(answer.out.splitlines()[-1] if ours else answer.err)).code in (0, 1)
    assert load(tmp_path / "out-exported").certificate.predicate.data.n == 20


def test_memory_that_ran_out_writes_no_weights(
    harden: Harden, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(hardened_module, "export", fail)
    answer = harden("run", "--data", npz, "--out", tmp_path / "out", *FAST)
    assert answer.code == 2
    assert "--resume" in answer.err
    assert not (tmp_path / "out" / "progress" / "checkpoint").exists()
