"""--prove: a run's and an export's certificate with a proof in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Harden = Callable[..., Any]
FAST = ("--data", "digits", "--test-images", "30", "--steps", "5", "--restarts", "1", "--eps", "1/100")


def test_a_run_proves_at_quarters_of_eps(harden: Harden, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ("run", *FAST, "--finetune", "standard", "--budget", "3epochs", "--prove", "ibp", "--out", out)
    answer = harden(*words, "--json", tmp_path / "f.json")
    assert answer.code in (0, 1), answer.err
    said = json.loads((tmp_path / "f.json").read_text())
    assert [point["eps"] for point in said["proof"]["points"]] == ["1/400", "1/200", "3/400", "1/100"]
    counts = [point["certified"]["count"] for point in said["proof"]["points"]]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == said["certified"]["count"]
    assert "proved for every change up to 1/400" in answer.out
    assert harden("verify", out).code == 0
    exported = harden("export", out, *FAST, "--prove", "ibp", "--out", tmp_path / "other")
    assert exported.code in (0, 1), exported.err
    assert "proved for every change up to 1/100" in exported.out


@pytest.mark.parametrize("command", ["run", "export"])
@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("--prove", "magic"), "--prove magic; expected ibp"),
        (("--prove-minutes", "3"), "--prove-minutes 3 without --prove"),
        (("--prove", "ibp", "--prove-minutes", "0"), "0.0 minutes"),
    ],
)
def test_what_makes_no_sense(
    harden: Harden, tmp_path: Path, command: str, words: tuple[str, ...], seen: str
) -> None:
    first = ("run",) if command == "run" else ("export", "small")
    answer = harden(*first, "--data", "digits", "--out", tmp_path / "out", *words)
    assert answer.code == 2
    assert seen in answer.err
    assert not (tmp_path / "out").exists()
