"""benchmarks/runtime_proofs.py: what sessions execute as it is written is certified alike both ways."""

from __future__ import annotations

import json

import pytest

from benchmarks.runtime_proofs import main


def test_it_counts_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--images", "40", "--rounds", "1", "--methods", "crown"]) == 0
    (line,) = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert line["certified as written"] == line["certified as executed"]
    assert line["certified as executed"]["of"] == line["images"] == 40
    assert line["graphs"] >= 1
    assert line["disagreement"] is None
    assert set(line["time ratio of proofs"]) == {"median", "least", "most"}
