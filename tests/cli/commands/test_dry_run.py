"""--dry-run: the plan, and an estimate from a few steps; nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.certificate.certificate_file import read

Harden = Callable[..., Any]
FAST = ("--steps", "3", "--restarts", "2")


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def dry(harden: Harden, place: Path, *words: object) -> tuple[str, dict[str, Any]]:
    """What a dry run prints and writes as JSON; it must write nothing else."""
    before = listing(place)
    answer = harden("run", *words, "--dry-run", "--json", place / "plan.json")
    assert (answer.code, answer.err) == (0, "")
    assert listing(place) - before == {"plan.json"}
    return answer.out, json.loads((place / "plan.json").read_text())


def test_the_plan_says_what_would_run_on_what(harden: Harden, npz: str, tmp_path: Path) -> None:
    words = ("--data", npz, "--out", tmp_path / "deep" / "out", "--eps", "1/10", "--budget", "40E", *FAST)
    out, said = dry(harden, tmp_path, *words, "--pretrain", "simclr", "--class-weights", "balanced")
    assert "240 to train on, 40 to test on" in out
    assert "10 classes: 0 " in out
    assert "Linf" in out
    assert "recipe simclr + madry   budget 40E" in out
    assert "SGD(lr=0.15, momentum=0.9, weight_decay=0.0005), OneCycle(warmup=0.3), " in out
    assert "class weights " in out
    assert "an estimate, from a few steps on a copy" in out
    assert "nothing was written" in out
    assert "export    tried before training, in " in out
    assert 0 <= said["export"]["parity"]["max_error"] <= said["export"]["parity"]["tolerance"]
    assert said["data"]["train"] == sum(said["data"]["classes"].values()) == 240
    assert said["threat"] == {"norm": "linf", "eps": "1/10", "bounds": [0.0, 1.0]}
    assert (said["recipe"]["pretrain"], said["recipe"]["finetune"]) == ("simclr", "madry")
    assert said["recipe"]["described"]["pretrain"]["kind"] == "harden.objectives:SimCLR"
    assert "Sequential" in said["model"]["found"]
    estimate = said["estimate"]
    assert [stage["name"] for stage in estimate["stages"]] == ["pretrain", "finetune", "evaluation"]
    assert estimate["passes"] == pytest.approx(sum(stage["passes"] for stage in estimate["stages"]))
    assert all(stage["seconds"] > 0 for stage in estimate["stages"])
    assert estimate["memory_bytes"] > 1 << 20
    # 40 E of 216 images that are not held out, a fifth of them for pretraining.
    pretrain, finetune, _ = (stage["passes"] for stage in estimate["stages"])
    assert (pretrain, finetune) == (pytest.approx(0.2 * 40 * 216), pytest.approx(0.8 * 40 * 216))


@pytest.mark.parametrize(("finetune", "budget"), [("standard", "4epochs"), ("trades", "2epochs")])
def test_the_estimate_of_passes_bounds_what_is_spent(
    harden: Harden, npz: str, tmp_path: Path, finetune: str, budget: str
) -> None:
    words = ("--data", npz, "--finetune", finetune, "--budget", budget, "--batch-size", "32", *FAST)
    _, said = dry(harden, tmp_path, *words, "--out", tmp_path / "out")
    assert harden("run", *words, "--out", tmp_path / "out").code == 0
    (stage,) = read(tmp_path / "out").predicate.provenance.stages
    estimate = said["estimate"]["stages"][0]
    # Validation attacks the held-out images that are right, as if all were.
    assert estimate["bound"]
    assert 0.4 * estimate["passes"] < stage.passes <= estimate["passes"]


def test_a_budget_in_time_is_what_it_will_take(harden: Harden, npz: str, tmp_path: Path) -> None:
    _, said = dry(harden, tmp_path, "--data", npz, "--out", tmp_path / "out", "--budget", "2min", *FAST)
    finetune = said["estimate"]["stages"][0]
    assert finetune["seconds"] == pytest.approx(120)
    assert finetune["passes"] == pytest.approx(120 * finetune["passes_per_second"])


def test_where_options_came_from_is_told(harden: Harden, npz: str, tmp_path: Path) -> None:
    path = tmp_path / "harden.toml"
    path.write_text(f'data = "{npz}"\nsteps = 7\nrestarts = 1\nbudget = "30E"\n')
    words = ("--config", path, "--out", tmp_path / "out", "--steps", "2")
    out, said = dry(harden, tmp_path, *words)
    assert f"from file {path}" in out or f"from {path}: budget, data, restarts" in out
    assert "from the command line, before the file: dry_run, json, out, steps" in out
    assert said["evaluation"] == {"attacks": "pgd", "steps": 2, "restarts": 1, "bfloat16": False}
    origins = {name: said["options"][name] for name in ("data", "steps", "lr", "restarts")}
    assert origins == {"data": "file", "steps": "flag", "lr": "default", "restarts": "file"}


def test_a_dry_run_refuses_what_the_run_refuses(harden: Harden, npz: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years")
    for words in (
        ("--eps", "8"),
        ("--out", tmp_path / "full"),
        ("--model", "smal"),
        ("--budget", "soon"),
        ("--budget", "2E"),
    ):
        usual = ("--data", npz, "--out", tmp_path / "out", *FAST)
        answer = harden("run", *usual, *words, "--dry-run")
        assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert listing(tmp_path) == {"full", "full/thesis.tex"}


def test_what_can_not_be_exported_is_refused_by_the_dry_run_and_before_training(
    harden: Harden, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gamma_nets.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Gamma(nn.Module):\n"
        "    def forward(self, x): return torch.lgamma(x + 1)\n"
        "def net(num_classes): return nn.Sequential(Gamma(), nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    words = ("run", "--data", npz, "--model", "gamma_nets:net", "--out", tmp_path / "out", *FAST)
    for more in (("--dry-run",), ()):
        answer = harden(*words, *more)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert "a network with aten.lgamma in '0' (Gamma), for which torch.onnx has no ONNX" in answer.err
        assert not (tmp_path / "out").exists()
        assert "finetune" not in answer.out
