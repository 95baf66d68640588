"""The comparison of suites at toy size: lines, resumption, and the summary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import default_suites

WORDS = ["--toy", "--trainings", "plain", "--eps", "4/255", "8/255", "--suites", "pgd", "quick", "--record"]


def test_every_network_is_evaluated_by_every_suite_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(default_suites, "RECORD", tmp_path / "suites.jsonl")
    assert default_suites.main(WORDS) == 0
    first = capsys.readouterr().out.splitlines()
    lines = [json.loads(text) for text in first[:2]]
    assert [line["eps"] for line in lines] == ["4/255", "8/255"]
    for line in lines:
        assert list(line["suites"]) == ["pgd", "quick"]
        assert (line["n"], line["clean"] <= 12) == (12, True)
        for told in line["suites"].values():
            assert told["robust"] <= line["clean"]
            assert (told["status"] == "ok") == (told["fired"] == {})
            assert min(told["after"].values()) == told["robust"]
            assert set(told["closing"]) == {"one-step", "noise", "twice-the-steps"}
    assert default_suites.main(WORDS) == 0
    assert capsys.readouterr().out.splitlines()[2:] == first[2:]
    assert len((tmp_path / "suites.jsonl").read_text().splitlines()) == 2


def test_suites_are_compared_by_flags_cost_and_points() -> None:
    def told(status: str, robust: int, passes: float) -> dict[str, object]:
        return {"status": status, "robust": robust, "passes_per_image": passes}

    lines = [
        {"n": 200, "suites": {"pgd": told("unreliable", 24, 100), "standard": told("ok", 20, 300)}},
        {"n": 200, "suites": {"pgd": told("ok", 10, 50), "standard": told("ok", 10, 100)}},
    ]
    pgd, record = default_suites.compared(lines, ["pgd", "standard"])
    assert pgd.startswith("pgd        unreliable 1 of 2, 50.0 % [")
    assert "; 75 passes per image; robust accuracy above the lowest by 1.00 points, at most 2.00" in pgd
    assert record.startswith("standard   unreliable 0 of 2, 0.0 % [")
    assert "; 200 passes per image; robust accuracy above the lowest by 0.00 points, at most 0.00" in record
