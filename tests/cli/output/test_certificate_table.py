"""What is printed at the end: of a model that is no better than guessing nothing looks good."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Harden = Callable[..., Any]
FAST = ("--eps", "1/10", "--steps", "3", "--restarts", "1")


def warning(out: str) -> str:
    (line,) = (line for line in out.splitlines() if line.startswith("warning: "))
    return line.removeprefix("warning: ")


def test_a_model_that_was_never_trained_is_told_by_every_command(
    harden: Harden, npz: str, tmp_path: Path
) -> None:
    words = ("export", "small", "--data", npz, "--out", tmp_path / "out", "--json", tmp_path / "x.json")
    exported = harden(*words, *FAST)
    assert (exported.code, exported.err) == (0, "")
    said = warning(exported.out)
    assert "can't be distinguished from guessing" in said
    assert json.loads((tmp_path / "x.json").read_text())["warnings"] == [said]
    assert "No better than guessing" in (tmp_path / "out" / "report.html").read_text()
    verified = harden("verify", tmp_path / "out")
    assert verified.code == 0
    assert "can't be distinguished from guessing" in verified.out.splitlines()[-1]
    for spec in ("small", tmp_path / "out", tmp_path / "out" / "model.onnx"):
        evaluated = harden("evaluate", spec, "--data", npz, "--json", tmp_path / "e.json", *FAST)
        said = warning(evaluated.out)
        assert "can't be distinguished from guessing" in said
        assert json.loads((tmp_path / "e.json").read_text())["warnings"] == [said]
    assert "give --mean and --std" in evaluated.out


def test_a_model_that_was_trained_is_not(harden: Harden, finished: Path) -> None:
    assert json.loads((finished.parent / "run.json").read_text())["warnings"] == []
    assert "guessing" not in harden("verify", finished).out
    assert "No better than guessing" not in (finished / "report.html").read_text()
