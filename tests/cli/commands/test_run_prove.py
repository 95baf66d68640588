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


def test_what_has_no_rule_for_bounds_is_refused_before_training(
    harden: Harden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sine_nets.py").write_text(
        "from torch import nn\n"
        "class Sine(nn.Module):\n"
        "    def forward(self, x): return x.sin()\n"
        "def net(num_classes): return nn.Sequential(nn.Flatten(), Sine(), nn.Linear(64, num_classes))\n"
    )
    words = ("run", *FAST, "--model", "sine_nets:net", "--budget", "3epochs", "--out", tmp_path / "out")
    for more in (("--dry-run",), ()):
        answer = harden(*words, "--prove", "ibp", *more)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert "nothing can be proved (a graph with what can't be read: Sin" in answer.err
        assert "leave out --prove" in answer.err
        assert not (tmp_path / "out").exists()
        assert "finetune" not in answer.out
    answer = harden(*words, "--dry-run")
    assert answer.code == 0, answer.err
