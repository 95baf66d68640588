"""The count of false flags at toy size: what it counts, and that it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import false_flags
from harden.attacks import PGD
from harden.evaluation import Attempt
from harden.evaluation import evaluate as real
from harden.losses import CrossEntropy

WORDS = ["--toy", "--norms", "linf", "--seeds", "2", "--record"]


def test_every_seed_is_evaluated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated = []

    def counted(model, data, threat, attempts, seed):  # type: ignore[no-untyped-def]
        evaluated.append(seed)
        return real(model, data, threat, [Attempt("pgd", PGD(steps=1), CrossEntropy)], seed=seed)

    monkeypatch.setattr(false_flags, "RECORD", tmp_path / "flags.jsonl")
    monkeypatch.setattr(false_flags, "evaluate", counted)
    assert false_flags.main(WORDS) == 0
    first = capsys.readouterr().out.splitlines()
    assert false_flags.main(WORDS) == 0
    assert evaluated == [0, 0, 1, 1]
    flagged = sum(bool(fired) for line in first[:2] for fired in json.loads(line)["fired"].values())
    assert first[2] == f"{flagged} of 4 evaluations were called unreliable"
    again = [json.loads(text) for text in capsys.readouterr().out.splitlines()[:2]]
    assert [line["fired"] for line in again] == [json.loads(line)["fired"] for line in first[:2]]
    assert first[0] != first[1]
