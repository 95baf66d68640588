"""Options of `harden run` about data, class weights, logs and what is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harden.certificate.certificate_file import read

Harden = Callable[..., Any]
FAST = ("--steps", "2", "--restarts", "1", "--eps", "1/10", "--budget", "1epochs", "--finetune", "standard")


def save(path: Path, **changed: Any) -> str:
    """A small set of random images of four classes, each image its own."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "x_train": rng.integers(0, 256, (60, 8, 8), np.uint8),
        "y_train": np.arange(60) % 4,
        "x_test": rng.integers(0, 256, (16, 8, 8), np.uint8),
        "y_test": np.arange(16) % 4,
    }
    np.savez(path, **{**arrays, **changed})
    return f"npz:{path}"


@pytest.fixture
def leaking(tmp_path: Path) -> str:
    """Three test images are training images 7, 8 and 20."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (60, 8, 8), np.uint8)
    test = rng.integers(0, 256, (16, 8, 8), np.uint8)
    test[[2, 3, 9]] = x[[7, 8, 20]]
    return save(tmp_path / "leaking.npz", x_train=x, x_test=test)


def test_test_images_in_training_are_refused_and_named(harden: Harden, leaking: str, tmp_path: Path) -> None:
    answer = harden("run", "--data", leaking, "--out", tmp_path / "out", *FAST)
    assert answer.code == 2
    assert "training 7 = test 2, training 8 = test 3, training 20 = test 9" in answer.err
    assert answer.err.endswith("; write --drop-leaks to leave these 3 images out of training\n")
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_dropped_leaks_are_said_and_left_out(harden: Harden, leaking: str, tmp_path: Path) -> None:
    answer = harden("run", "--data", leaking, "--out", tmp_path / "out", *FAST, "--drop-leaks")
    assert (answer.code, answer.err) == (0, "")
    assert "57 to train on, 16 to test on" in answer.out
    assert "3 training images left out: they are test images too" in answer.out


def test_unlabelled_images_are_for_pretraining_alone(harden: Harden, tmp_path: Path) -> None:
    data = save(tmp_path / "data.npz")
    rng = np.random.default_rng(2)
    more = rng.integers(0, 256, (90, 8, 8), np.uint8)
    other = save(tmp_path / "other.npz", x_train=more, y_train=np.zeros(90, np.int64) + np.arange(90) % 4)
    words = ("run", "--data", data, "--unlabelled", other, *FAST, "--budget", "8E")
    answer = harden(*words, "--out", tmp_path / "out", "--pretrain", "simclr")
    assert (answer.code, answer.err) == (0, "")
    assert "90 images of " in answer.out
    plan = json.loads((tmp_path / "out" / "checkpoint" / "plan.json").read_text())
    assert plan["unlabelled"] is not None
    answer = harden(*words, "--out", tmp_path / "second")
    assert answer.code == 2
    assert "with --pretrain none; expected a pretraining that uses them" in answer.err


def test_unlabelled_images_that_are_tested_on_are_refused(
    harden: Harden, leaking: str, tmp_path: Path
) -> None:
    clean = save(tmp_path / "clean.npz", x_test=np.load(leaking.removeprefix("npz:"))["x_test"])
    options = ("--data", clean, "--unlabelled", leaking, *FAST, "--budget", "8E")
    words = ("run", *options, "--pretrain", "simclr")
    answer = harden(*words, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "unlabelled images: 3 of 16 test images" in answer.err
    answer = harden(*words, "--out", tmp_path / "out", "--drop-leaks")
    assert (answer.code, answer.err) == (0, "")
    assert "57 images of " in answer.out


@pytest.mark.parametrize(
    ("text", "weights"), [("none", []), ("1,2,3,0.5", [1, 2, 3, 0.5]), ("balanced", [0.5, 1, 1, 3])]
)
def test_class_weights_reach_the_objective(
    harden: Harden, tmp_path: Path, text: str, weights: list[float]
) -> None:
    y = np.repeat(np.arange(4), (30, 15, 15, 5))[:65]
    rng = np.random.default_rng(3)
    data = save(tmp_path / "d.npz", x_train=rng.integers(0, 256, (65, 8, 8), np.uint8), y_train=y)
    words = ("--data", data, "--out", tmp_path / "out", *FAST, "--class-weights", text)
    assert harden("run", *words).code == 0
    (stage,) = read(tmp_path / "out").predicate.provenance.stages
    found = stage.objective.get("class_weights", [])
    if text == "balanced":
        weights = [65 / (4 * count) for count in (30, 15, 15, 5)]
    assert found == pytest.approx(weights)


@pytest.mark.parametrize(
    ("text", "seen", "expected", "instead"),
    [
        ("balance", "--class-weights 'balance'", "none | balanced | W,W,...", "did you mean balanced?"),
        ("1,2", "2 weights for 4 classes", "a weight for each class", "--class-weights balanced"),
        ("1,2,3,-1", "1,2,3,-1", "a positive number for each class", "--class-weights balanced"),
        ("1,2,nan,1", "1,2,nan,1", "a positive number for each class", "--class-weights balanced"),
    ],
)
def test_class_weights_that_are_none_are_refused(
    harden: Harden, tmp_path: Path, text: str, seen: str, expected: str, instead: str
) -> None:
    data = save(tmp_path / "d.npz")
    answer = harden("run", "--data", data, "--out", tmp_path / "out", *FAST, "--class-weights", text)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    for part in (seen, expected, instead):
        assert part in answer.err
    assert not (tmp_path / "out").exists()


def test_the_worst_class_is_told(harden: Harden, npz: str, finished: Path, tmp_path: Path) -> None:
    said = json.loads((finished.parent / "run.json").read_text())
    classes = read(finished).predicate.classes
    worst = min(classes, key=lambda each: each.robust.value)
    assert said["worst_class"]["label"] == worst.label
    assert said["worst_class"]["robust"]["count"] == worst.robust.count
    words = ("--data", npz, "--eps", "1/10", "--steps", "3", "--restarts", "1")
    answer = harden("evaluate", finished, *words, "--json", tmp_path / "e.json")
    found = json.loads((tmp_path / "e.json").read_text())
    lowest = min(each["robust"]["value"] for each in found["per_class"].values())
    assert found["worst_class"]["robust"]["value"] == lowest
    assert f"worst class {found['worst_class']['name']}: clean " in answer.out


def test_a_failed_run_leaves_no_folder_behind(harden: Harden, npz: str, tmp_path: Path) -> None:
    """The loss diverges in training, after the folder was made."""
    words = ("--data", npz, "--out", tmp_path / "a" / "b", *FAST, "--lr", "1e30")
    answer = harden("run", *words, "--budget", "5epochs")
    assert answer.code == 2
    assert "expected a finite number" in answer.err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    assert harden("run", *words, "--budget", "5epochs", "--out", tmp_path / "mine").code == 2
    assert list((tmp_path / "mine").iterdir()) == []  # the user's own folder stays


def test_the_model_of_a_folder_is_compared_with_and_remembered(
    harden: Harden, npz: str, finished: Path, tmp_path: Path
) -> None:
    answer = harden("run", "--data", npz, "--out", tmp_path / "out", *FAST, "--model", finished)
    assert (answer.code, answer.err) == (0, "")
    assert read(tmp_path / "out").predicate.comparison is not None
    assert json.loads((tmp_path / "out" / "checkpoint" / "model.json").read_text())["spec"] == "small"


def test_a_folder_that_is_missing_is_called_so(harden: Harden, npz: str, tmp_path: Path) -> None:
    for words in (("evaluate",), ("export", "--out", tmp_path / "out")):
        answer = harden(words[0], "runs/gone", "--data", npz, *words[1:])
        assert (answer.code, answer.err) == (
            2,
            "harden: model 'runs/gone', where no folder is; expected a run's folder, or small, "
            "torchvision:NAME or module:function; name the --out of a `harden run`\n",
        )


def test_a_network_that_draws_in_inference_is_refused_before_its_budget_is_spent(
    harden: Harden, models: str, tmp_path: Path
) -> None:
    data = save(tmp_path / "data.npz")
    answer = harden("run", "--data", data, "--model", f"{models}:noisy", "--out", tmp_path / "out", *FAST)
    assert answer.code == 2
    assert "a network whose logits differ by" in answer.err
    assert "expected the same logits for the same images; remove randomness" in answer.err
    assert not (tmp_path / "out").exists()


def test_an_evaluation_may_have_a_limit(harden: Harden, tmp_path: Path) -> None:
    """Time enough leaves all images; none at all, or none that is one, leaves nothing behind."""
    data, out = save(tmp_path / "d.npz"), tmp_path / "out"
    answer = harden("run", "--data", data, "--out", out, *FAST, "--evaluate-minutes", "60")
    assert answer.code in (0, 1), answer.err
    found = read(out).predicate.data
    assert (found.n, found.split) == (16, "test")
    for command in ("run", "export"):
        words = ("run",) if command == "run" else ("export", out)
        more = ("--evaluate-minutes", "-1", "--out", tmp_path / "none")
        answer = harden(*words, "--data", data, *(FAST if command == "run" else ()), *more)
        assert answer.code == 2
        assert "expected a positive number" in answer.err
        assert answer.err.count("\n") == 1
        assert not (tmp_path / "none").exists()


def test_refuses_another_norm_before_anything_is_written(harden: Harden, npz: str, tmp_path: Path) -> None:
    words = ("--finetune", "ibp", "--norm", "l2", "--eps", "1/2", "--budget", "4epochs")
    answer = harden("run", "--data", npz, "--out", tmp_path / "out", *words)
    assert answer.code == 2
    assert "certified training against L2" in answer.err
    assert not (tmp_path / "out").exists()
