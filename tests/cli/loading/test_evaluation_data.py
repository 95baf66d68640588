"""Commands that look at the test part alone take a set without a training part, and say what they read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.models import Classifier

Harden = Callable[..., Any]
QUICK = ("--eps", "1/50", "--batch-size", "16")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Test images of three of ten classes, and no training part."""
    test = load("digits").test
    rows = torch.cat([(test.y == label).nonzero()[:4, 0] for label in (2, 3, 5)])
    path = tmp_path_factory.mktemp("few") / "few.npz"
    np.savez(path, x_test=test.x[rows, 0].numpy(), y_test=test.y[rows].numpy())
    return f"npz:{path}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    splits = load("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    means = torch.stack([splits.train.x[splits.train.y == label].flatten(1).mean(0) for label in range(10)])
    network[1].weight.data, network[1].bias.data = 20 * means, -10 * means.square().sum(1)
    path = tmp_path_factory.mktemp("file") / "model.onnx"
    onnx.save(trace(Classifier(network), (1, 8, 8)), path)
    return path


def test_a_test_part_alone_is_enough(harden: Harden, file: Path, few: str, tmp_path: Path) -> None:
    line = "few: 12 test images; 1x8x8 (C, H, W), float32 pixels from 0 to 1"
    steps = ("--steps", "2", "--restarts", "1")
    for command in (
        ("evaluate", file, *steps),
        ("certify", file, "--radius-steps", "0", "--attacks", "pgd"),
        (
            "baseline",
            "update",
            file,
            "--norm",
            "linf",
            "--baseline",
            tmp_path / "b.json",
            "--attacks",
            "pgd",
            *steps,
        ),
    ):
        answer = harden(*command, "--data", few, *QUICK)
        assert answer.code in (0, 1), answer.err
        assert line in " ".join(answer.out.split())
    answer = harden("check", file, "--data", few, "--baseline", tmp_path / "b.json", "--batch-size", "16")
    assert answer.code == 0, answer.err
    assert line in " ".join(answer.out.split())
    answer = harden("run", "--data", few, "--out", tmp_path / "run")
    assert (answer.code, answer.out) == (2, "")
    assert "x_train, y_train missing" in answer.err


def test_folders_are_numbered_by_the_certificates_classes(harden: Harden, tmp_path: Path) -> None:
    names = ("ant", "bee", "cow")
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for label, name in enumerate(names):
            (tmp_path / "all" / part / name).mkdir(parents=True)
            for k in range(10):
                pixels = random.integers(0, 60, (8, 8), dtype=np.uint8)
                pixels[2 * label : 2 * label + 2] += 180
                Image.fromarray(pixels).save(tmp_path / "all" / part / name / f"{k}.png")
    out = tmp_path / "run"
    options = ("--eps", "1/50", "--budget", "3epochs", "--batch-size", "8", "--steps", "2", "--restarts", "1")
    answer = harden("run", "--data", f"folder:{tmp_path / 'all'}", "--out", out, *options)
    assert answer.code in (0, 1), answer.err
    for name in names[1:]:
        shutil.copytree(tmp_path / "all" / "test" / name, tmp_path / "some" / "test" / name)
    said = {}
    for data in ("all", "some"):
        answer = harden("evaluate", out, "--data", f"folder:{tmp_path / data}", *QUICK, "--steps", "2")
        assert answer.code in (0, 1), answer.err
        said[data] = answer.out
    assert "20 test images" in said["some"]
    (tmp_path / "some" / "test" / "bee").rename(tmp_path / "some" / "test" / "elk")
    answer = harden("evaluate", out, "--data", f"folder:{tmp_path / 'some'}", *QUICK)
    assert answer.code == 2
    assert "images of elk; expected classes of the model: ant, bee, cow" in " ".join(answer.err.split())


def test_a_folder_that_was_removed_meanwhile_is_one_line(
    harden: Harden, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/data/gone/model.onnx")

    monkeypatch.setattr("harden.cli.commands.evaluate.for_evaluation", gone)
    answer = harden("evaluate", "small", "--data", "digits")
    assert answer.code == 2
    assert answer.err.startswith("harden: /data/gone/model.onnx: No such file or directory; expected files")
    assert len(answer.err.splitlines()) == 1
