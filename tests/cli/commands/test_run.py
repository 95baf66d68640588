"""harden run: the folder that it leaves, its JSON, its recipes, and the same model for the same seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.certificate.certificate_file import read

Harden = Callable[..., Any]
FAST = ("--steps", "3", "--restarts", "1")
FILES = {"certificate.json", "checkpoint", "evidence.npz", "history.jsonl", "model.onnx", "report.html"}


def test_run_leaves_a_whole_folder_that_verifies(finished: Path, harden: Harden) -> None:
    assert {path.name for path in finished.iterdir()} == FILES
    assert {path.name for path in (finished / "checkpoint").iterdir()} == {
        "model.json",
        "plan.json",
        "weights.safetensors",
    }
    answer = harden("verify", finished)
    assert (answer.code, answer.err) == (0, "")
    predicate = read(finished).predicate
    assert predicate.status == "ok"
    assert (predicate.threat.eps, predicate.data.n) == ("1/10", 40)
    assert predicate.clean.value > 0.4  # it learned something, so that attacks below have something to break
    assert predicate.evidence.witnesses > 0
    assert predicate.comparison is None  # fresh weights: nothing to compare with
    points = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [point["step"] for point in points] == sorted(point["step"] for point in points)
    assert {point["stage"] for point in points} == {"finetune"}
    assert any(point["robust"] is not None for point in points)


def test_runs_json_says_what_the_certificate_says(finished: Path) -> None:
    said = json.loads((finished.parent / "run.json").read_text())
    predicate = read(finished).predicate
    assert said["status"] == "ok"
    assert said["threat"] == {"norm": "linf", "eps": "1/10", "bounds": [0.0, 1.0]}
    for name, share in (("clean", predicate.clean), ("robust", predicate.bracket.robust)):
        assert (said[name]["count"], said[name]["n"]) == (share.count, 40)
        assert said[name]["interval"] == list(share.interval)
    assert said["certified"]["count"] == 0
    assert said["before"] is None
    assert said["seconds"] > 0
    (stage,) = said["stages"]
    assert (stage["name"], stage["objective"]["kind"]) == (
        "finetune",
        "harden.objectives:Standard",
    )


@pytest.mark.parametrize(
    ("pretrain", "finetune", "budget", "kinds"),
    [
        ("simclr", "trades", 20, ["SimCLR", "TRADES"]),
        ("none", "madry", 20, ["AdversarialTraining"]),
        ("simclr", "probe", 6, ["SimCLR", "LinearProbe"]),
        ("none", "ibp", 6, ["IBP"]),
    ],
)
def test_recipes_go_through_the_same_command(
    harden: Harden, npz: str, tmp_path: Path, pretrain: str, finetune: str, budget: int, kinds: list[str]
) -> None:
    words = ["--pretrain", pretrain, "--finetune", finetune, "--budget", f"{budget}E"]
    words += ["--beta", "2.5"] if finetune == "trades" else []
    answer = harden("run", "--data", npz, "--out", tmp_path / "out", *words, *FAST)
    assert (answer.code, answer.err) == (0, "")
    assert f"recipe {pretrain} + {finetune}   budget {budget}E" in answer.out
    provenance = read(tmp_path / "out").predicate.provenance
    objectives = [str(stage.objective["kind"]).partition(":")[2] for stage in provenance.stages]
    assert objectives == kinds
    assert "TRADES" not in kinds or provenance.stages[-1].objective["beta"] == 2.5
    # The budget is of the whole run; a stage may overshoot by a step and a validation.
    assert budget <= sum(stage.epochs_equivalent for stage in provenance.stages) < budget + 14
    assert harden("verify", tmp_path / "out").code == 0


def test_the_same_run_gives_the_same_model(
    finished: Path, run_words: list[str], harden: Harden, tmp_path: Path
) -> None:
    for name, seed in (("again", 0), ("other", 1)):
        assert harden(*run_words, "--out", tmp_path / name, "--seed", seed).code == 0
    for name in ("model.onnx", "evidence.npz"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()
    assert (tmp_path / "other" / "model.onnx").read_bytes() != (finished / "model.onnx").read_bytes()


def test_a_limit_that_no_weights_meet_ends_with_one(
    finished: Path, npz: str, harden: Harden, tmp_path: Path
) -> None:
    words = ["run", "--data", npz, "--model", finished, "--finetune", "standard", "--budget", "2epochs"]
    words += ["--optimiser", "sgd", "--lr", "50", "--average", "0", "--max-clean-drop", "0.05", *FAST]
    out = tmp_path / "out"
    answer = harden(*words, "--out", out)
    assert answer.code == 1
    assert "no weights were more robust than the original ones" in answer.err
    assert "allow a larger --max-clean-drop" in answer.err
    assert not (out / "model.onnx").exists()
    assert [path.name for path in out.glob("**/*")] == []
