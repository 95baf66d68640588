"""The comparison of fine-tuning: one line a run, at the budget that was given, and nothing measured twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import finetune
from harden.models import Classifier
from harden.objectives import AdversarialTraining
from harden.training import AdamW


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Images of two classes, bright above or below."""
    generator = np.random.default_rng(0)
    parts: dict[str, Any] = {}
    for name, count in (("train", 120), ("test", 40)):
        y = np.arange(count) % 2
        x = generator.integers(0, 120, (count, 16, 16, 3), dtype=np.uint8)
        x[y == 1, :8] += 120
        parts |= {f"x_{name}": x, f"y_{name}": y}
    np.savez(tmp_path / "halves.npz", **parts)
    return f"npz:{tmp_path / 'halves.npz'}"


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "results" / "finetune.jsonl"
    path.parent.mkdir()
    monkeypatch.setattr(finetune, "RECORD", path)
    monkeypatch.setattr(finetune, "PLAIN", "1epochs")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_arms_are_measured_at_equal_passes_and_once(data: str, record: Path) -> None:
    words = ["--data", data, "--budget", "0.003M", "--batch", "20", "--record"]
    assert finetune.main([*words, "--arms", "default", "hand"]) == 0
    found = lines(record)
    assert [line["arm"] for line in found] == ["default", "hand"]
    for line in found:
        assert 3000 <= line["passes"] <= 3600  # the last validation comes after the budget
        assert line["n"] == 40
        assert 0 <= line["robust"] <= line["clean"] <= 1
        assert line["worst_class"] <= line["robust"] <= line["interval"][1]
        assert {"versions", "machine"} <= line.keys()
    assert finetune.main([*words, "--arms", "default", "hand", "pgd-1"]) == 0
    assert [line["arm"] for line in lines(record)] == ["default", "hand", "pgd-1"]
    assert lines(record)[:2] == found


def test_a_start_from_a_plain_network_is_a_run_of_its_own(data: str, record: Path) -> None:
    words = ["--data", data, "--budget", "0.002M", "--batch", "20", "--record", "--arms", "hand"]
    assert finetune.main([*words, "--from", "plain"]) == 0
    assert finetune.main(words) == 0
    assert [line["start"] for line in lines(record)] == ["plain", "scratch"]


def test_the_task_halves_the_images_and_its_network_is_the_small_one(data: str) -> None:
    task = finetune.Task.of(data)
    assert task.x.shape == (120, 3, 8, 8)
    assert str(task.threat.eps) == "8/255"
    model = task.network(0)
    assert isinstance(model, Classifier)
    assert model(task.x[:2]).shape == (2, 2)


def test_arms_differ_from_the_default_in_what_their_names_say() -> None:
    default = finetune.ARMS["default"]
    assert isinstance(default.finetune, AdversarialTraining)
    assert finetune.ARMS["adamw-5e-3"].optimiser == AdamW(5e-3)
    assert finetune.ARMS["no-ramp"].ramp == 0.0
    assert len({repr(recipe) for recipe in finetune.ARMS.values()}) == len(finetune.ARMS)
