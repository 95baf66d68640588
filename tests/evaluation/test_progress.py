"""Progress: a phase is that of its evaluation, and what is not measured has a default."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from harden.evaluation import EvaluationProgress, Phase

AT = EvaluationProgress(done=3, total=8, robust=0.25, passes=41.5, seconds=7.0)


def test_a_phase_has_each_number_of_its_evaluation() -> None:
    assert Phase.of("attack the file", AT) == Phase(
        name="attack the file", done=3, total=8, robust=0.25, passes=41.5, seconds=7.0
    )


def test_where_nothing_is_attacked_there_is_no_robust_accuracy() -> None:
    phase = Phase("prove", 1, 2)
    assert (phase.robust, phase.passes, phase.seconds) == (None, 0.0, 0.0)


def test_robust_accuracy_of_0_is_a_number() -> None:
    found = Phase.of("attack", EvaluationProgress(1, 1, 0.0, 0.0, 0.0))
    assert found.robust == 0.0
    assert found.robust is not None


def test_a_report_can_not_be_changed_by_one_who_reads_it() -> None:
    for each in (AT, Phase.of("attack", AT)):
        with pytest.raises(FrozenInstanceError):
            each.done = 4  # type: ignore[misc]  # wrong on purpose
