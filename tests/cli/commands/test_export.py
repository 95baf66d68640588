"""harden export: a user's network, and the folder of a run under another norm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.certificate.certificate_file import read

Harden = Callable[..., Any]
FAST = ("--steps", "3", "--restarts", "1")


def test_a_users_function_gets_the_sizes_it_asks_for(
    models: str, harden: Harden, npz: str, tmp_path: Path
) -> None:
    words = ("--data", npz, "--eps", "1/10", *FAST)
    normalisation = ("--mean", "0.3", "--std", "0.4")
    assert harden("export", f"{models}:sized", *words, *normalisation, "--out", tmp_path / "out").code == 0
    stored = json.loads((tmp_path / "out" / "checkpoint" / "model.json").read_text())
    named = {"spec": f"{models}:sized", "mean": [0.3], "std": [0.4], "head": "", "output": ""}
    assert stored == {**named, "weights": None}
    assert harden("evaluate", tmp_path / "out", *words).code == 0


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_export_of_a_runs_folder_is_a_runs_folder(
    finished: Path, harden: Harden, npz: str, tmp_path: Path, norm: str
) -> None:
    words = ("--data", npz, "--norm", norm, "--eps", "1/2", *FAST)
    answer = harden("export", finished, *words, "--out", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (finished / "model.onnx").read_bytes()
    assert read(tmp_path / "out").predicate.threat.norm == norm
    assert harden("verify", tmp_path / "out").code == 0
    assert harden("evaluate", tmp_path / "out", *words).code == 0
