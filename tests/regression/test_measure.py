"""Measurement of a file for the gate: known counts of a linear file, and a specification that comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harden.data import Splits
from harden.deployed.evidence_level import FileAccess
from harden.errors import InputError
from harden.regression.measure import CheckSpec, FileMeasurer
from tests.regression.conftest import GREYS

SPEC = CheckSpec("linf", "1/8", "pgd", steps=4, restarts=1, label="line")


def test_the_counts_are_those_of_the_closed_form(line_file: Path, greys: Splits) -> None:
    """Grey g is robust where |g - 1/2| > eps; the first label is wrong."""
    measurer, done = FileMeasurer(line_file, greys, batch_size=10), list[int]()
    found, _ = measurer.measure(replace(SPEC, certify=True), lambda at: done.append(at.done))
    away = (GREYS - 0.5).abs() > 1 / 8
    away[0] = False
    assert found.outcomes["clean"].mask.tolist() == [False] + [True] * 23
    assert found.outcomes["robust"].mask.tolist() == away.tolist()
    assert found.outcomes["certified"].mask.tolist() == away.tolist()
    assert done == [10, 20, 24]
    assert (found.label, found.setting.evidence) == ("line", "A")
    assert CheckSpec.of(found) == replace(SPEC, certify=True)
    assert measurer.setting(CheckSpec.of(found)) == found.setting


def test_a_black_box_is_queried_and_its_evidence_is_less(line_file: Path, greys: Splits) -> None:
    measurer = FileMeasurer(line_file, greys, FileAccess(black_box=True))
    spec = CheckSpec("linf", "1/8", "quick", sample=6, seed=3)
    setting = measurer.setting(spec)
    assert (setting.evidence, setting.data.n, setting.data.sample, setting.seed) == ("C", 6, 6, 3)
    assert all(attempt.is_gradient_free for attempt in spec.attempts(measurer.access))
    assert (setting.attacks.steps, setting.attacks.restarts) == (None, None)


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (FileAccess(black_box=True), "--certify with --black-box"),
        (FileAccess(mean=(0.5,), std=(0.5,)), "--certify with --mean and --std"),
    ],
)
def test_proofs_without_a_graph_of_pixels_are_refused(
    line_file: Path, greys: Splits, access: FileAccess, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        FileMeasurer(line_file, greys, access).setting(replace(SPEC, certify=True))


def test_a_file_is_loaded_once_and_refused_where_there_is_none(line_file: Path, greys: Splits) -> None:
    measurer = FileMeasurer(line_file, greys)
    measurer.load()
    assert measurer.file is measurer.file
    assert measurer.images(6) is measurer.images(6)
    with pytest.raises(InputError):
        FileMeasurer(line_file.with_name("none.onnx"), greys).load()
