"""The comparison of processes at toy size: a line for an objective, with both times and both differences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import processes


@pytest.mark.slow
def test_a_line_has_times_and_differences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "RECORD", tmp_path / "processes.jsonl")
    words = ["--arms", "madry", "--batch", "8", "--steps", "3", "--rounds", "1", "--record"]
    assert processes.main(words) == 0
    (line,) = (json.loads(each) for each in capsys.readouterr().out.splitlines())
    assert (line["arm"], line["processes"], line["batch"], line["steps"]) == ("madry", 2, 8, 3)
    assert line["ratio"] > 0
    assert line["processor_ratio"] > 0
    assert line["weights_apart"] < 1e-2
    (kept,) = (json.loads(each) for each in (tmp_path / "processes.jsonl").read_text().splitlines())
    assert kept["ratio"] == line["ratio"]
    assert {"machine", "versions", "commit", "date"} <= kept.keys()


def test_images_of_a_class_are_alike() -> None:
    batch = next(iter(processes.images(64, 64).epoch(None)))
    assert batch.x.shape == (64, 3, 32, 32)
    assert 0 <= float(batch.x.min()) <= float(batch.x.max()) <= 1
