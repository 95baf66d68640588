"""The simulation of the gate, small: the claims hold, and a rule that errs is noticed."""

from __future__ import annotations

import json

import pytest

from benchmarks import gate
from benchmarks.gate import Cell, broken_claims, cells, simulated, table
from benchmarks.peering.provenance import ROOT
from harden.regression.verdict import GateAnswer


@pytest.mark.once
def test_the_claims_hold_at_a_fixed_seed() -> None:
    found = list(cells((200, 1000), 2000, seed=1))
    assert broken_claims(found) == []
    assert len(found) == 2 * (5 * 4 - 1)
    assert all(0 <= cell.undecided <= 1 for cell in found)


def test_the_rule_of_two_points_misses_half_and_alarms_falsely() -> None:
    assert simulated(200, 0.12, 0.0, 2000, 0).naive > 0.1
    assert 0.3 < simulated(5000, 0.06, 0.02, 2000, 0).naive < 0.6


def test_a_gate_that_goes_by_the_estimate_breaks_the_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    def naive(n: int, gained: int, lost: int) -> GateAnswer:
        return GateAnswer.FAIL if (lost - gained) / n > gate.MARGIN else GateAnswer.PASS

    monkeypatch.setattr(gate, "answer", naive)
    broken = broken_claims(list(cells((200, 1000), 2000, seed=1)))
    assert any(line.startswith("false FAIL") for line in broken)
    assert any(line.startswith("false PASS") for line in broken)


def test_weak_detection_is_a_broken_claim() -> None:
    assert broken_claims([Cell(1000, 0.06, 0.04, 20_000, 0.0, 0.94, 0.99)]) != []
    assert broken_claims([Cell(1000, 0.06, 0.04, 20_000, 0.0, 0.95, 0.99)]) == []


def test_the_record_is_what_the_page_shows() -> None:
    lines = [json.loads(line) for line in gate.RECORD.read_text().splitlines()]
    last = lines[-1]
    assert last["broken"] == []
    assert all(cell["repetitions"] == 20_000 for cell in last["cells"])
    found = [Cell(**cell) for cell in last["cells"]]
    page = (ROOT / "docs" / "ci.md").read_text()
    rows = table(found).splitlines()
    assert [row for row in rows if row not in page] == []
