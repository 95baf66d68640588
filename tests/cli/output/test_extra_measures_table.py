"""Tables of the extra measures: each number is printed, intervals outwards, and what is missing is said."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.cli.output.extra_measures_table import _outwards, show
from harden.evaluation import CalibrationRecord, CorruptionRecord, mean_accuracy, operating_point
from harden.evaluation.natural.extra_measures import ATTACKED, OWN, ExtraResults
from harden.evaluation.natural.measure_calibration import calibration_of
from harden.statistics import Proportion
from tests.deployed.lines import line_model
from tests.evaluation.by_hand import greys, written_down

CLASSES = ("no", "yes")
NOTHING = ExtraResults(None, None, None, None, ())


def printed(capsys: pytest.CaptureFixture[str], more: ExtraResults) -> list[str]:
    capsys.readouterr()
    show(more, CLASSES)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def calibration(nan: bool = False) -> CalibrationRecord:
    model = line_model()

    def judge(x: torch.Tensor) -> torch.Tensor:
        logits = model.logits(x)
        if nan:
            logits[:1] = math.nan
        return logits

    return calibration_of(judge, (greys(5), torch.tensor([0, 1, 1, 0, 1])))


def test_what_was_not_measured_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, NOTHING) == []


# Decision


def test_a_decision_has_both_rates(capsys: pytest.CaptureFixture[str]) -> None:
    point = operating_point(written_down())
    lines = printed(capsys, replace(NOTHING, threshold=0.25, decision=point))
    assert point.sensitivity is not None
    assert point.specificity is not None
    assert lines == [
        f"decision: yes is positive, from p >= 0.25 on; prevalence {point.prevalence}",
        f"sensitivity: clean {point.sensitivity.clean}, robust at most {point.sensitivity.robust}",
        f"specificity: clean {point.specificity.clean}, robust at most {point.specificity.robust}",
    ]


def test_a_robust_rate_that_is_not_trusted_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    point = operating_point(written_down(fired=True))
    lines = printed(capsys, replace(NOTHING, threshold=0.25, decision=point))
    assert not any("robust" in line for line in lines)
    assert len(lines) == 3


def test_a_rate_without_images_is_said_to_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    point = operating_point(written_down(labels=(1, 1), predictions=(1, 1), broken=()))
    lines = printed(capsys, replace(NOTHING, threshold=0.5, decision=point))
    assert lines[-1] == "no negative image among 2: nothing is known of specificity"
    assert not any(line.startswith("specificity") for line in lines)


# Calibration


def test_calibration_is_clean_and_attacked(capsys: pytest.CaptureFixture[str]) -> None:
    clean = calibration()
    attacked = replace(clean, adaptive_ece=0.125, replaced=2)
    lines = printed(capsys, replace(NOTHING, clean=clean, attacked=attacked))
    found = clean.reliability
    assert lines[0].startswith(f"calibration error, clean: {found.ece:.4f} [")
    assert f"(n = 5, {len(found.bins)} bins)" in lines[0]
    assert lines[0].endswith(f"Brier score {found.brier:.4f}")
    assert lines[1].startswith("calibration error, attacked: ")
    assert "bins of equal mass 0.1250" in lines[1]
    assert lines[2:] == [f"attacked: {ATTACKED} (2 of 5 images replaced)", OWN]


def test_calibration_under_attacks_that_are_not_trusted_is_said_to_be_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(capsys, replace(NOTHING, clean=calibration()))
    assert lines[1:] == ["calibration error, attacked: not given, for the evaluation is unreliable", OWN]


def test_images_without_finite_logits_are_in_no_bin(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, replace(NOTHING, clean=calibration(nan=True)))
    assert "(n = 4, " in lines[0]
    assert lines[1] == "1 of 5 images without finite logits: wrong, and in no bin"


# Corruptions


def test_corruptions_have_a_row_each_and_their_mean(capsys: pytest.CaptureFixture[str]) -> None:
    records = tuple(
        CorruptionRecord(name, Proportion(5, 5), tuple(Proportion(count, 5) for count in counts))
        for name, counts in (("noise", (5, 4, 3, 2, 1)), ("blur", (5, 5, 5, 5, 0)))
    )
    lines = printed(capsys, replace(NOTHING, corruptions=records))
    assert "no adversary" in lines[0]
    assert str(records[0].clean) in lines[0]
    assert "corruption 1 2 3 4 5 mean" in lines
    assert "noise 100.0 80.0 60.0 40.0 20.0 60.0" in lines
    assert "blur 100.0 100.0 100.0 100.0 0.0 80.0" in lines
    mean = mean_accuracy(records)
    assert lines[-1].startswith(f"mean corruption accuracy {100 * mean.value:.1f} % [")
    assert lines[-1].endswith("(n = 5)")


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([10**3, 10**4]))
def test_a_printed_interval_holds_the_one_that_was_computed(one: float, other: float, steps: int) -> None:
    low, high = min(one, other), max(one, other)
    below, above = _outwards((low, high), steps)
    assert below <= low
    assert above >= high
    assert below > low - 1.001 / steps
    assert above < high + 1.001 / steps


def test_ends_that_are_printed_exactly_stay_where_they_are() -> None:
    assert _outwards((0.25, 0.75), 1000) == (0.25, 0.75)
    assert _outwards((0.0, 1.0), 1000) == (0.0, 1.0)
    assert _outwards((0.2501, 0.7501), 1000) == (0.25, 0.751)
