"""harden demo: the whole job, on a tenth of its budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harden.data import Splits, load

Harden = Callable[..., Any]
FAST = ("--steps", "3", "--restarts", "1")


def test_demo_does_the_whole_job(harden: Harden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harden.cli.commands.demo.PLAIN_BUDGET", "2epochs")
    monkeypatch.setattr("harden.cli.commands.demo.BUDGET", "25E")
    monkeypatch.setattr("harden.cli.commands.demo.load", _few)
    answer = harden("demo", "--out", tmp_path / "out", "--json", tmp_path / "demo.json")
    assert (answer.code, answer.err) == (0, "")
    said = json.loads((tmp_path / "demo.json").read_text())
    assert said["before"]["name"] == "trained plainly"
    assert [stage["name"] for stage in said["stages"]] == ["pretrain", "finetune"]
    assert "trained plainly" in answer.out
    assert harden("verify", tmp_path / "out").code == 0
    assert harden("evaluate", tmp_path / "out", "--data", "digits", "--eps", "1/10", *FAST).code in (0, 1)


def _few(spec: str) -> Splits:
    splits = load(spec)
    train, test = splits.train.take(torch.arange(240)), splits.test.take(torch.arange(40))
    return Splits(train, test, splits.name)
