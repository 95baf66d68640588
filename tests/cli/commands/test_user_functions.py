"""Attacks and objectives of a user's own on the command line: module:function."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.certificate.certificate_file import read

Harden = Callable[..., Any]
MODULE = """
from dataclasses import dataclass

import torch

from harden.attacks.attack import loss_and_gradient, searching
from harden.evaluation import Attempt
from harden.losses import Margin
from harden.objectives import Standard

SHARE = 1.0

@dataclass(frozen=True)
class OneStep:
    share: float = 1.0

    def __call__(self, loss, x, threat, draws):
        with searching(x) as clean:
            x_adv = clean.clone()
            _, gradient = loss_and_gradient(loss, x_adv)
            threat.step_(x_adv, clean, gradient, torch.full((1,), self.share * float(threat.eps)))
        return x_adv

def suite():
    return Attempt("my-step", OneStep(SHARE), Margin),

def objective(class_weights):
    return Standard(class_weights=class_weights)

def wrong():
    return "trades"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_a_run_by_own_functions_names_them_in_certificate_and_plan(
    harden: Harden, npz: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "--data", npz, "--out", "out", "--eps", "1/10", "--budget", "4epochs", "--lr", "0.003"]
    words += ["--batch-size", "32", "--test-images", "20", "--class-weights", "balanced"]
    words += ["--attacks", f"{module}:suite", "--finetune", f"{module}:objective"]
    answer = harden(*words)
    assert answer.err == ""
    assert f"recipe none + {module}:objective" in answer.out
    attack = read(tmp_path / "out").predicate.attacks[0]
    assert attack.name == "my-step"
    assert attack.spec["attack"] == {"kind": f"{module}:OneStep", "share": 1.0}
    assert harden("verify", "out").code == 0
    plan = json.loads((tmp_path / "out" / "checkpoint" / "plan.json").read_text())
    assert plan["evaluation"]["attacks"] == f"{module}:suite"
    assert plan["evaluation"]["attempts"]["my-step"]["attack"]["kind"] == f"{module}:OneStep"
    assert len(plan["recipe"]["finetune"]["class_weights"]) == 10
    assert "this run has ended before" in harden(*words, "--resume").out
    # Another attack under the same name is another run.
    monkeypatch.setattr(sys.modules[module], "SHARE", 0.5)
    answer = harden(*words, "--resume")
    assert answer.code == 2
    assert "evaluation" in answer.err


def test_evaluate_takes_own_attacks(harden: Harden, npz: str, module: str, tmp_path: Path) -> None:
    words = ("evaluate", "small", "--data", npz, "--eps", "1/10", "--test-images", "20")
    harden(*words, "--attacks", f"{module}:suite", "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["per_attack"]["my-step"]["spec"]["attack"]["kind"] == f"{module}:OneStep"


@pytest.mark.parametrize(
    ("options", "seen", "expected"),
    [
        (("--attacks", "{}:wrong"), "--attacks {}:wrong, which returned a value of type str", "a tuple of"),
        (("--attacks", "{}:gone"), "has no attribute 'gone'", "a function that can be imported"),
        (("--attacks", "gone:suite"), "whose module 'gone' is not found", "a function that can be imported"),
        (
            ("--finetune", "{}:wrong"),
            "--finetune {}:wrong, which returned a value of type str",
            "an objective",
        ),
        (("--pretrain", "gone:views"), "whose module 'gone' is not found", "a function that can be imported"),
    ],
)
def test_wrong_functions_are_refused_before_any_data_are_read(
    harden: Harden, module: str, tmp_path: Path, options: tuple[str, str], seen: str, expected: str
) -> None:
    words = [word.format(module) for word in options]
    answer = harden("run", "--data", "npz:there-are-none.npz", "--out", "out", *words)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert seen.format(module) in answer.err
    assert f"expected {expected}" in answer.err
    assert not (tmp_path / "out").exists()


def test_a_baseline_names_no_code_to_run(harden: Harden, module: str, tmp_path: Path) -> None:
    """`harden check` runs the attacks that a baseline names, which may be a stranger's file."""
    (tmp_path / "model.onnx").write_bytes(b"")
    answer = harden("baseline", "update", "model.onnx", "--data", "digits", "--attacks", f"{module}:suite")
    assert answer.code == 2
    assert module not in sys.modules
