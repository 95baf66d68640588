"""Tables of an evaluation: every number of it, and no headline where it is not trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harden.cli.output.evaluation_table import show, show_curve
from harden.evaluation import Evaluation
from harden.threats import Linf
from tests.evaluation.by_hand import written_down

CLASSES = ("no", "yes")


def printed(capsys: pytest.CaptureFixture[str], found: Evaluation, trusted: bool = True) -> list[str]:
    capsys.readouterr()
    show(found, "small on greys", CLASSES, trusted=trusted)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def row(lines: list[str], name: str) -> str:
    (found,) = (line for line in lines if line.startswith(name))
    return found


def test_each_attempt_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    lines, found = printed(capsys, written_down()), written_down()
    assert "small on greys" in lines[0]
    assert "accuracy broken seconds" in lines[1]
    assert row(lines, "clean") == f"clean {found.clean}"
    assert row(lines, "and under first") == f"and under first {found.attempts[0].robust} 0 0.2"
    assert row(lines, "and under second") == f"and under second {found.robust} 1 1.5"


def test_a_trusted_number_is_the_headline_with_its_worst_class(capsys: pytest.CaptureFixture[str]) -> None:
    found = written_down(broken=(0,))
    lines = printed(capsys, found)
    assert f"robust accuracy at most {found.robust}" in lines
    label, clean, robust = found.worst_class
    assert (CLASSES[label], clean.count, robust.count) == ("no", 1, 0)
    assert lines[-1] == f"worst class no: clean {clean}, robust at most {robust}"


def test_a_number_that_is_not_trusted_is_no_headline(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, written_down(fired=True), trusted=False)
    assert not any(line.startswith(("robust accuracy", "worst class")) for line in lines)


def test_an_attempts_note_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, written_down())
    assert "second: the margin in place of DLR" in lines
    assert not any(line.startswith("first:") for line in lines)


def test_of_a_part_it_says_of_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    said = "time was up: all numbers are of the first 5 of 1,005 images"
    assert said in printed(capsys, written_down(left=1000))
    assert not any("time was up" in line for line in printed(capsys, written_down()))


def test_probabilities_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = "the model returns probabilities: attacks use their logarithms"
    assert said in printed(capsys, replace(written_down(), output="probabilities"))
    assert not any("the model returns" in line for line in printed(capsys, written_down()))


def test_images_without_an_answer_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, written_down(predictions=(0, 1, -1, -1, 1)))
    assert any("2 of 5 images have a logit that is NaN or infinite" in line for line in lines)
    assert not any("NaN" in line for line in printed(capsys, written_down()))


def test_a_model_with_one_answer_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, written_down(predictions=(1, 1, 1, 1, 1)))
    assert any(line.startswith("warning: ") for line in lines)
    good = written_down(labels=(0, 1) * 20, predictions=(0, 1) * 20)
    assert not any(line.startswith("warning: ") for line in printed(capsys, good))


def test_a_curve_has_a_row_for_each_eps_and_doubts_the_doubtful(capsys: pytest.CaptureFixture[str]) -> None:
    half = written_down(broken=(), threat=Linf("1/16"))
    show_curve((half, written_down(fired=True)), "small on greys")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "robust accuracy, at most" in lines[1]
    assert row(lines, "0 ") == f"0 {half.clean} clean"
    assert row(lines, "1/16") == f"1/16 {half.robust}"
    assert row(lines, "1/8") == "1/8 unreliable"
