"""Files that earlier versions wrote are read: certificates, runs to resume, baselines.

`made/` holds what harden 0.1.0 wrote on 2026-11-30, before its modules were renamed: a run on the digits that
ship with scikit-learn, with the network of `tiny.py`, and a like run killed in its training.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harden.cli import main
from harden.description import restore
from harden.verifier.verification import verify

MADE = Path(__file__).parent / "made"
OPTIONS = [
    *("--attack-steps", "10", "--attack-step-size", "0.25", "--schedule", "cosine", "--ramp", "0.3"),
    *("--validations", "10", "--validation-share", "1", "--precision", "float32"),
    *("--rollbacks", "0", "--guard-checks", "0"),
    *("--model", "tiny:network", "--data", "digits", "--eps", "1/20", "--budget", "120E"),
    *("--finetune", "madry", "--lr", "0.01", "--test-images", "40", "--prove", "crown"),
    *("--attacks", "quick", "--seed", "3"),
]
PLACES = (
    "run/certificate.json",
    "run/checkpoint/plan.json",
    "interrupted/progress/plan.json",
    "robustness-baseline.json",
)


def _kinds(value: Any) -> list[dict[str, Any]]:
    """Every described value in a JSON document."""
    if isinstance(value, list):
        return [found for part in value for found in _kinds(part)]
    if isinstance(value, dict):
        inner = [found for part in value.values() for found in _kinds(part)]
        return [*inner, value] if ":" in str(value.get("kind")) else inner
    return []


@pytest.mark.parametrize("place", PLACES)
def test_every_value_that_a_file_names_is_restored(place: str) -> None:
    found = _kinds(json.loads((MADE / place).read_text(encoding="utf-8")))
    assert found
    for described in found:
        if described["kind"].endswith(":Recipe"):
            described.pop("budget")  # a plan notes the run's budget with it
        restored = restore(described)
        for name in described.keys() - {"kind"}:
            assert hasattr(restored, name)


def test_an_artefact_verifies() -> None:
    checked = verify(MADE / "run")
    assert checked.ok, checked


def test_a_baseline_is_compared(tmp_path: Path) -> None:
    baseline, answer = MADE / "robustness-baseline.json", tmp_path / "answer.json"
    words = ["check", str(MADE / "run"), "--data", "digits", "--baseline", str(baseline)]
    assert main([*words, "--json", str(answer)]) == 0
    found = json.loads(answer.read_text(encoding="utf-8"))["comparisons"]
    assert {each["measure"] for each in found} == {"clean", "robust", "certified"}
    assert {each["difference"] for each in found} == {0.0}


def test_an_interrupted_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MADE))
    shutil.copytree(MADE / "interrupted", tmp_path / "run")
    state = tmp_path / "run" / "progress" / "state.safetensors"
    assert state.exists()
    assert main(["run", *OPTIONS, "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert verify(tmp_path / "run").ok
    assert not state.exists()
    assert main(["run", *OPTIONS, "--lr", "0.02", "--out", str(tmp_path / "run"), "--resume"]) == 2


def test_the_command_verifies_an_artefact_without_comparing_its_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The words of pages change from version to version; the files that carry claims are checked."""
    assert main(["verify", str(MADE / "run")]) == 0
    said = capsys.readouterr().out
    assert "verified: linf 1/20: robust accuracy at most 0.9000 (36 of 40" in said
    assert "the certificate is of harden 0.1.0" in said
