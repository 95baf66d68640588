"""Checks that a test makes: models and data of each form, names in the baseline, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from harden.data import Splits
from harden.errors import BaselineError, InputError
from harden.regression.pytest_checks import PytestCheck
from harden.threats import L2, Linf, Threat

COMMAND = "run pytest --harden-update-baseline"
THREAT = Linf("1/8")


@pytest.fixture
def gate(tmp_path: Path) -> PytestCheck:
    return PytestCheck(tmp_path / "baseline.json", "line", 0, COMMAND)


@pytest.mark.parametrize("kind", ["splits", "examples", "tensors"])
def test_data_of_each_form_are_the_same_images(
    gate: PytestCheck, line_file: Path, greys: Splits, tmp_path: Path, kind: str
) -> None:
    data = {"splits": greys, "examples": greys.test, "tensors": (greys.test.x, greys.test.y)}[kind]
    measurer = gate.measurer(str(line_file), data, tmp_path)
    assert torch.equal(measurer.splits.test.x, greys.test.x)
    assert torch.equal(measurer.splits.test.y, greys.test.y)
    assert measurer.splits.test.classes == (("0", "1") if kind == "tensors" else ("dark", "bright"))
    assert measurer.path == line_file


def test_what_was_updated_is_found_and_compares_as_equal(
    gate: PytestCheck, line_file: Path, greys: Splits, tmp_path: Path
) -> None:
    measurer = gate.measurer(line_file, greys, tmp_path)
    assert gate.known(THREAT, "quick", missing_is_fine=True) is None
    spec = gate._spec(THREAT, "quick")
    check, _ = measurer.measure(spec)
    assert check.name == gate.name(THREAT, "quick") == "line: linf 1/8 quick"
    found = gate.comparisons(measurer, check, THREAT, "quick")
    assert {each.measure for each in found} == {"clean", "robust"}
    assert all((each.pairs.gained, each.pairs.lost) == (0, 0) for each in found)
    with pytest.raises(BaselineError, match="threat model"):
        gate.comparisons(measurer, check, Linf("1/16"), "quick")


def test_a_check_that_is_missing_is_an_error_with_the_command(gate: PytestCheck) -> None:
    with pytest.raises(BaselineError) as caught:
        gate.known(THREAT, "quick")
    assert caught.value.instead == COMMAND
    gate.path.write_text('{"schema": "urn:harden:robustness-baseline:v1", "checks": {}}')
    with pytest.raises(BaselineError, match=r"no 'line: linf 1/8 quick' in baseline\.json"):
        gate.known(THREAT, "quick")


def test_a_name_without_a_label_is_that_of_threat_and_suite(tmp_path: Path) -> None:
    assert PytestCheck(tmp_path, "", 0, "").name(L2("1/2"), "quick") == "l2 1/2 quick"


@pytest.mark.parametrize("model", [3, None, nn.Linear], ids=repr)
def test_what_is_no_model_is_refused(gate: PytestCheck, greys: Splits, tmp_path: Path, model: object) -> None:
    with pytest.raises(InputError, match=f"a model of type {type(model).__name__}; expected an ONNX file's"):
        gate.measurer(model, greys, tmp_path)


@pytest.mark.parametrize("threat", [Linf("1/8", (-1.0, 1.0)), Linf("1/8", (0.0, 0.5))], ids=repr)
def test_a_threat_on_other_pixels_is_refused(
    gate: PytestCheck, line_file: Path, greys: Splits, tmp_path: Path, threat: Threat
) -> None:
    measurer = gate.measurer(line_file, greys, tmp_path)
    with pytest.raises(InputError, match=r"expected linf, l2, l1 of one eps on pixels in \[0, 1\]"):
        gate.updated(measurer, threat, "quick", None, 0.0)
