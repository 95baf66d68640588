"""`harden evaluate` with a decision threshold, calibration and corruptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harden.artefact.artefact import Artefact
from harden.cli import main
from harden.data import load
from harden.evaluation.natural.corruptions import DEFAULT

Harden = Callable[..., Any]
FAST = ("--eps", "1/20", "--steps", "3", "--restarts", "1")
ALL = ("--calibration", "--corruptions")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data spec of two classes: 80 digits to train on, 40 to test on, positive from 5 on."""
    splits = load("digits")
    arrays = {}
    for part, n in (("train", 80), ("test", 40)):
        examples = getattr(splits, part)
        arrays[f"x_{part}"] = examples.x[:n].permute(0, 2, 3, 1).numpy()
        arrays[f"y_{part}"] = (examples.y[:n] >= 5).long().numpy()
    path = tmp_path_factory.mktemp("two") / "two.npz"
    np.savez(path, **arrays)
    return f"npz:{path}"


@pytest.fixture(scope="module")
def shipped(two: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact of two classes."""
    out = tmp_path_factory.mktemp("shipped") / "out"
    words = ["run", "--data", two, "--out", str(out), "--budget", "6epochs", "--finetune", "standard", *FAST]
    assert main([*words, "--lr", "0.003", "--batch-size", "16"]) == 0
    return out


def told(harden: Harden, tmp_path: Path, *words: object, code: int = 0) -> tuple[str, dict[str, Any]]:
    answer = harden("evaluate", *words, *FAST, "--json", tmp_path / "e.json")
    assert (answer.code, answer.err) == (code, "")
    return " ".join(answer.out.split()), json.loads((tmp_path / "e.json").read_text())


def test_the_file_decides_at_the_threshold(harden: Harden, tmp_path: Path, two: str, shipped: Path) -> None:
    out, said = told(harden, tmp_path, shipped, "--data", two, "--decision-threshold", 0.2, *ALL)
    test = load(two).test
    batch = test.batch(torch.arange(40))
    logits = torch.from_numpy(Artefact(shipped)(batch.x.numpy())).double()
    p = logits.softmax(1)
    decided = (p[:, 1] >= 0.2).long()
    decision = said["decision"]
    assert (decision["threshold"], decision["positive"], decision["missing"]) == (0.2, 1, [])
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        mine = batch.y == label
        rate = decision[name]
        assert (rate["clean"]["count"], rate["clean"]["n"]) == (
            int((decided == batch.y)[mine].sum()),
            int(mine.sum()),
        )
        assert rate == said["per_class"][str(label)]
        assert f"{name}: clean {100 * rate['clean']['value']:.1f} %" in out
    assert decision["prevalence"]["count"] == int(batch.y.sum())
    assert said["clean"]["count"] == int((decided == batch.y).sum())
    assert "decision: 1 is positive, from p >= 0.2 on; prevalence " in out

    clean, attacked = said["calibration"]["clean"], said["calibration"]["attacked"]
    # Not at the threshold: the model's own probabilities and answers.
    assert clean["argmax_accuracy"]["count"] == int((p.argmax(1) == batch.y).sum())
    right = (p.argmax(1) == batch.y).double()
    assert clean["brier"] == pytest.approx(float((p - torch.eye(2)[batch.y]).square().sum(1).mean()))
    assert sum(each["n"] for each in clean["bins"]) == clean["n"] == 40
    place = (p.amax(1) * 15).ceil().clamp(1).long() - 1
    gaps = torch.zeros(15).double().index_add_(0, place, right - p.amax(1))
    assert clean["ece"] == pytest.approx(float(gaps.abs().sum() / 40))
    assert attacked["replaced"] == sum(each["broken"] for each in said["per_attack"].values()) > 0
    assert (clean["replaced"], clean["not_finite"]) == (0, 0)
    assert clean["interval"][0] <= clean["ece"] <= clean["interval"][1]
    rule = "the stored witness in place of each image that was broken, the clean image elsewhere"
    assert said["calibration"]["attacked_images"] == rule
    assert f"attacked: {rule} ({attacked['replaced']} of 40 images replaced)" in out
    assert "not by a decision threshold" in out

    corruptions = said["corruptions"]
    assert corruptions["clean"] == said["clean"]
    assert set(corruptions["accuracy"]) == {each.name for each in DEFAULT}
    shares = [share for each in corruptions["accuracy"].values() for share in each.values()]
    assert len(shares) == 45
    assert all(share["n"] == 40 and len(share["interval"]) == 2 for share in shares)
    assert corruptions["mean"]["value"] == pytest.approx(sum(share["value"] for share in shares) / 45)
    assert "mean corruption accuracy" in out


def test_a_low_threshold_is_more_sensitive_and_a_high_one_more_specific(
    harden: Harden, tmp_path: Path, two: str, shipped: Path
) -> None:
    found = []
    for t in (1e-9, 1 - 1e-9):
        # One answer for all images: no attack changes it, so its robust rates are not trusted and not told.
        _, said = told(harden, tmp_path, shipped, "--data", two, "--decision-threshold", t, code=1)
        rates = [said["decision"][name] for name in ("sensitivity", "specificity")]
        assert [rate["robust"] for rate in rates] == [None, None]
        found.append([rate["clean"]["value"] for rate in rates])
    assert found == [[1, 0], [0, 1]]


def test_without_the_options_nothing_is_told_of_them(
    harden: Harden, tmp_path: Path, two: str, shipped: Path
) -> None:
    out, said = told(harden, tmp_path, shipped, "--data", two)
    assert [said[name] for name in ("decision", "calibration", "corruptions")] == [None] * 3
    for word in ("sensitivity", "calibration", "corruption"):
        assert word not in out


def test_calibration_and_corruptions_are_for_any_number_of_classes(
    harden: Harden, tmp_path: Path, npz: str
) -> None:
    _, said = told(harden, tmp_path, "small", "--data", npz, *ALL, "--test-images", 20)
    assert said["decision"] is None
    assert said["calibration"]["clean"]["n"] == said["corruptions"]["clean"]["n"] == 20
    # Without a threshold the answers under attack are those that the evaluation counts.
    assert said["calibration"]["attacked"]["argmax_accuracy"] == said["robust"]


def test_of_an_unreliable_evaluation_nothing_under_attack_is_told(
    harden: Harden, models: str, tmp_path: Path, two: str
) -> None:
    text = Path(f"{models}.py").read_text()
    Path(f"{models}.py").write_text(text.replace("nn.Linear(64, 10)", "nn.Linear(64, 2)"))
    words = (f"{models}:quantised", "--data", two, "--decision-threshold", 0.4, "--calibration")
    out, said = told(harden, tmp_path, *words, code=1)
    assert said["status"] == "unreliable"
    assert said["calibration"]["attacked"] is None
    assert {said["decision"][name]["robust"] for name in ("sensitivity", "specificity")} == {None}
    assert "calibration error, attacked: not given, for the evaluation is unreliable" in out
    assert "robust at most" not in out


def test_the_options_stand_in_a_file_too(harden: Harden, tmp_path: Path, two: str, shipped: Path) -> None:
    path = tmp_path / "harden.toml"
    path.write_text("[evaluate]\ndecision-threshold = 0.3\ncalibration = true\n")
    _, said = told(harden, tmp_path, shipped, "--data", two, "--config", path)
    assert said["decision"]["threshold"] == 0.3
    assert said["calibration"] is not None


@pytest.mark.parametrize("threshold", ["0", "1", "-0.5", "nan", "7"])
def test_a_threshold_that_is_none_is_refused(harden: Harden, two: str, threshold: str) -> None:
    answer = harden("evaluate", "small", "--data", two, "--decision-threshold", threshold)
    assert answer.code == 2
    assert answer.err.startswith(
        f"harden: a decision threshold of {float(threshold)}; expected a probability"
    )
    assert answer.err.count("\n") == 1


def test_a_threshold_for_ten_classes_is_refused(harden: Harden, npz: str) -> None:
    answer = harden("evaluate", "small", "--data", npz, "--decision-threshold", 0.3)
    expected = "--decision-threshold 0.3 for 10 classes; expected two classes; leave --decision-threshold out"
    assert (answer.code, answer.err) == (2, f"harden: {expected}\n")
