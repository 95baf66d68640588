"""Inputs of the gate: options for access, the file with its data, and the command to run next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harden.cli.loading.gate_inputs import file_access, gate_file, measure_visibly, next_step
from harden.deployed.evidence_level import FileAccess
from harden.errors import InputError
from harden.evaluation import EvaluationProgress, TrustCheck
from harden.regression.measure import USUAL_BATCH, CheckSpec, FileMeasurer
from tests.deployed.lines import greys, line_file

SPEC = CheckSpec("linf", "1/8", "pgd", 3, 1)
FIRED = TrustCheck("zero gradients", 0.75, 0.5, "a share", "mend it")


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A data spec: six test images of one grey each, the fourth with the wrong label."""
    images = greys(0.2, 0.4, 0.45, 0.7, 0.55, 0.8, wrong=(3,))
    path = tmp_path / "greys.npz"
    np.savez(path, x_test=images.x[:, 0].numpy(), y_test=images.y.numpy())
    return f"npz:{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return line_file(tmp_path)


def measurer(path: Path, data: str, batch_size: int = USUAL_BATCH, **access: Any) -> FileMeasurer:
    return gate_file(str(path), data, FileAccess(**access), batch_size)


def words(found: object) -> list[str]:
    """The words of a command that is recommended."""
    command: str = found.command  # type: ignore[attr-defined]  # a NextCommand
    return shlex.split(command)


# Options


def test_access_is_read_from_what_was_typed() -> None:
    plain = file_access(False, "", "")
    assert (plain.twin, plain.black_box, plain.mean, plain.std) == (None, False, None, None)
    found = file_access(True, "0.25,0.5", "0.5,1")
    assert (found.black_box, found.mean, found.std) == (True, (0.25, 0.5), (0.5, 1.0))


@pytest.mark.parametrize(
    ("mean", "std", "seen"),
    [
        ("0.5", "", "mean without std"),
        ("0.5,x", "1,1", "--mean '0.5,x'"),
        ("0.5", "y", "--std 'y'"),
        ("0.5", "0.5,0.5", "1 means and 2 deviations"),
    ],
)
def test_mean_and_std_that_do_not_fit_are_refused(mean: str, std: str, seen: str) -> None:
    with pytest.raises(InputError) as caught:
        file_access(False, mean, std)
    assert caught.value.seen == seen


def test_a_file_or_its_folder_and_the_data_of_a_spec(
    path: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in (path, path.parent):
        found = gate_file(str(model), data, FileAccess(black_box=True), 16)
        assert found.path == path
        assert len(found.splits.test) == 6
        assert (found.batch_size, found.access.black_box) == (16, True)
    assert "6 test images" in capsys.readouterr().out


def test_a_missing_file_is_said_before_the_data_are_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="where no ONNX file is"):
        gate_file(f"{tmp_path}/none.onnx", "npz:none.npz", FileAccess(), 16)


# Measurement


def test_a_measurement_is_the_measurers_with_its_progress(
    path: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = measurer(path, data)
    check, distrust = measure_visibly(subject, SPEC)
    assert distrust == ()
    assert check.outcomes["clean"].accuracy.count == 5
    # Broken are the images within 1/8 of the line: 0.4, 0.45 and 0.55.
    assert check.outcomes["robust"].accuracy.count == 2
    assert "attack" in capsys.readouterr().out


def test_a_warning_and_a_limit_of_time_are_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[object] = []

    class Measurer:
        caution = "clean accuracy can't be distinguished from guessing"

        def measure(self, spec: object, on_batch: Any, minutes: float | None) -> str:
            seen.extend((spec, minutes))
            on_batch(EvaluationProgress(1, 2, 0.5, 3.0, 4.0))
            return "measured"

    subject: Any = Measurer()
    measured: Any = measure_visibly(subject, SPEC, 2.5)
    assert measured == "measured"
    assert seen == [SPEC, 2.5]
    assert f"warning: {Measurer.caution}" in " ".join(capsys.readouterr().out.split())
    Measurer.caution = ""
    measure_visibly(subject, SPEC)
    assert "warning" not in capsys.readouterr().out


# What to run next


def test_where_no_check_fired_there_is_nothing_to_run(path: Path, data: str) -> None:
    subject = measurer(path, data)
    assert next_step(subject, data, SPEC, ["evaluate"]) is None
    subject.checks = (TrustCheck("zero gradients", 0.0, 0.5, "a share", "mend it"),)
    assert next_step(subject, data, SPEC, ["evaluate"]) is None


def test_the_next_command_measures_the_same_with_other_attacks(path: Path, data: str) -> None:
    subject = measurer(path, data)
    subject.checks = (FIRED,)
    found = words(next_step(subject, data, SPEC, ["baseline", "update"], ["--certify"]))
    assert found[:4] == ["harden", "baseline", "update", str(path)]
    text = " ".join(found)
    assert f"--data {data} --norm linf --eps 1/8 --certify" in text
    assert "--attacks standard" in text or "--attacks thorough" in text or "--steps" in text


def test_only_settings_that_are_not_the_usual_ones_are_typed_again(path: Path, data: str) -> None:
    usual = measurer(path, data)
    usual.checks = (FIRED,)
    plain = words(next_step(usual, data, SPEC, ["evaluate"]))
    special = measurer(path, data, 16, black_box=True, mean=(0.25,), std=(0.5,))
    special.checks = (FIRED,)
    spec = CheckSpec("l2", "1/2", "pgd", 3, 1, sample=4, seed=7)
    found = words(next_step(special, data, spec, ["evaluate"]))
    for option, value in (
        ("--batch-size", "16"),
        ("--mean", "0.25"),
        ("--std", "0.5"),
        ("--test-images", "4"),
        ("--seed", "7"),
    ):
        assert option not in plain
        assert found[found.index(option) + 1] == value
    assert "--black-box" in found
    assert "--black-box" not in plain
    assert found[found.index("--norm") + 1] == "l2"


def test_several_numbers_are_typed_with_commas(path: Path, data: str) -> None:
    subject = measurer(path, data, mean=(0.25, 0.5), std=(0.5, 1.0))
    subject.checks = (FIRED,)
    found = words(next_step(subject, data, SPEC, ["evaluate"]))
    assert found[found.index("--mean") + 1] == "0.25,0.5"
    again = file_access(False, found[found.index("--mean") + 1], found[found.index("--std") + 1])
    assert (again.mean, again.std) == (subject.access.mean, subject.access.std)
