"""The short form of benchmarks/stress_kills.py: a kill in each phase, resumed to the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.stress_kills import PHASES, main


@pytest.mark.slow
def test_a_kill_in_each_phase_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "kills.jsonl"
    n = len(PHASES)
    assert main(n, 1, results) == 0, results.read_text()
    assert len(results.read_text().splitlines()) == n
    assert f"{n} ended as undisturbed" in capsys.readouterr().out
