"""The short form of benchmarks/stress_kills.py: a kill in each phase, resumed to the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.stress_kills import PHASES, main

# A kill while pretraining, in the evaluation, and while publishing; the long form has all phases.
NUMBERS = (1, 3, 4)


@pytest.mark.once  # recorded in benchmarks/results/stress_kills.jsonl
def test_killed_runs_end_as_undisturbed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "kills.jsonl"
    assert [PHASES[number] for number in NUMBERS] == ["pretrain", "evaluate", "publish"]
    assert main(5, 1, results, NUMBERS) == 0, results.read_text()
    assert len(results.read_text().splitlines()) == 3
    assert "3 ended as undisturbed" in capsys.readouterr().out
