"""Status and exit code agree in every command, on the console and in JSON; reasons, and what to run next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harden.cli.output.unreliable_exit import exit_code, step_after
from harden.evaluation import TrustCheck, evaluate
from harden.evaluation.sweeps import eps_sweep
from tests.cli.conftest import Harden

QUICK = ("--eps", "1/6", "--attacks", "quick")
FEW = (*QUICK, "--test-images", "20")
FIRED = TrustCheck("complete optimisation", 0.02, 0.005, "share", "more steps")

Words = Callable[[Path, str, Path], list[object]]

EVALUATING: dict[str, Words] = {
    "evaluate": lambda run, data, out: ["evaluate", run, "--data", data, *FEW],
    "several eps": lambda run, data, out: ["evaluate", run, "--data", data, *FEW, "--eps", "1/8,1/6"],
    "a bare file": lambda run, data, out: ["evaluate", run / "model.onnx", "--data", data, *FEW],
    "certify": lambda run, data, out: ["certify", run, "--data", data, *FEW, "--method", "ibp"],
    "export": lambda run, data, out: ["export", run, "--data", data, *FEW, "--out", out / "new"],
    "run": lambda run, data, out: [
        *("run", "--data", data, *FEW, "--out", out / "new", "--budget", "4epochs", "--batch-size", "32"),
        *("--finetune", "standard", "--lr", "0.003"),
    ],
    "baseline": lambda run, data, out: [
        *("baseline", "update", run, "--data", data, *FEW, "--baseline", out / "baseline.json"),
    ],
}


@pytest.fixture
def doubtful(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Makes the check on twice the steps fire, whatever they break."""
    monkeypatch.setattr("harden.evaluation.trust.attempt_comparison.MORE_SHARE", -1.0)
    return monkeypatch


@pytest.mark.parametrize("command", EVALUATING)
def test_a_trusted_number_is_0(
    command: str, harden: Harden, finished: Path, npz: str, tmp_path: Path
) -> None:
    answer = harden(*EVALUATING[command](finished, npz, tmp_path), "--json", tmp_path / "said.json")
    said = json.loads((tmp_path / "said.json").read_text())
    assert (answer.code, said["status"]) == (0, "ok"), answer.out
    assert "unreliable" not in answer.out
    assert "next" not in said or said["next"] is None
    assert said.get("reasons", []) == []


@pytest.mark.parametrize("command", EVALUATING)
def test_an_unreliable_number_is_1_and_says_which_check_why_and_what_next(
    command: str, harden: Harden, finished: Path, npz: str, tmp_path: Path, doubtful: pytest.MonkeyPatch
) -> None:
    answer = harden(*EVALUATING[command](finished, npz, tmp_path), "--json", tmp_path / "said.json")
    said = json.loads((tmp_path / "said.json").read_text())
    # What is proved holds whether or not the attacks are trusted: the status is of these alone.
    assert (answer.code, said["status"]) == (0 if command == "certify" else 1, "unreliable")
    assert said.get("robust") is None
    assert "robust accuracy at most" not in answer.out
    assert "complete optimisation: share that twice the steps break after all attacks" in answer.out
    assert (
        "0 of the first 20 images: 0, expected no more than -1; give the attacks twice the steps"
        in answer.out
    )
    for line in said["reasons"]:
        assert line.removeprefix("eps 1/8: ").removeprefix("eps 1/6: ") in answer.out
    assert f"next: {said['next']}" in answer.out
    words = shlex.split(said["next"])
    assert words[0] == "harden"
    assert words[-2:] == ["--attacks", "standard"]
    assert Path(words[3 if words[1] == "baseline" else 2]).exists()
    if command in ("evaluate", "baseline"):  # the command runs as it is written
        doubtful.undo()
        assert harden(*words[1:]).code == 0


def test_each_eps_gives_its_reasons(
    harden: Harden, finished: Path, npz: str, tmp_path: Path, doubtful: pytest.MonkeyPatch
) -> None:
    words = EVALUATING["several eps"](finished, npz, tmp_path)
    answer = harden(*words, "--json", tmp_path / "said.json")
    said = json.loads((tmp_path / "said.json").read_text())
    assert [(point["status"], point["robust"]) for point in said["curve"]] == [("unreliable", None)] * 2
    for point in said["curve"]:
        (line,) = point["reasons"]
        assert line.startswith("complete optimisation: ")
        assert f"unreliable at eps {point['eps']}: {line}" in answer.out
        assert f"eps {point['eps']}: {line}" in said["reasons"]


def test_one_eps_without_trust_is_enough_for_all(
    harden: Harden, finished: Path, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest eps is trusted, a smaller one is not: status, headline and exit code are of both."""
    seen: list[str] = []

    def marked(model: Any, data: Any, threat: Any, *rest: Any, **more: Any) -> Any:
        found = evaluate(model, data, threat, *rest, **more)
        seen.append(str(threat.eps))
        if len(seen) > 1:
            return found
        return replace(found, checks=(TrustCheck("zero gradients", 1.0, 0.05, "share", "mend it"),))

    monkeypatch.setattr(eps_sweep, "evaluate", marked)
    words = EVALUATING["several eps"](finished, npz, tmp_path)
    answer = harden(*words, "--json", tmp_path / "said.json")
    said = json.loads((tmp_path / "said.json").read_text())
    assert (answer.code, said["status"], said["robust"]) == (1, "unreliable", None)
    assert [point["status"] for point in said["curve"]] == ["unreliable", "ok"]
    assert "robust accuracy at most" not in answer.out.replace("robust accuracy, at most", "")
    assert said["reasons"] == ["eps 1/8: zero gradients: share: 1, expected no more than 0.05; mend it"]
    assert "next, once the cause is mended: harden evaluate" in answer.out


def test_the_gate_fails_on_numbers_without_trust_and_says_why(
    harden: Harden, finished: Path, npz: str, tmp_path: Path, doubtful: pytest.MonkeyPatch
) -> None:
    doubtful.undo()
    base = ("--data", npz, "--baseline", tmp_path / "b.json")
    assert harden("baseline", "update", finished, *base, *QUICK).code == 0
    assert harden("check", finished, *base, "--margin", "60pp").code == 0
    doubtful.setattr("harden.evaluation.trust.attempt_comparison.MORE_SHARE", -1.0)
    answer = harden("check", finished, *base, "--margin", "60pp", "--json", tmp_path / "said.json")
    said = json.loads((tmp_path / "said.json").read_text())
    assert (answer.code, said["exit_code"], said["state"]) == (1, 1, "FAIL")
    assert "the trust check complete optimisation: share that twice the steps break" in answer.out
    assert f"next: harden evaluate {finished}/model.onnx --data {npz}" in answer.out
    assert "--attacks standard" in answer.out


def test_one_rule_from_statuses_to_an_exit_code() -> None:
    for statuses in ((), ("ok",), ("ok", "ok")):
        assert exit_code(*statuses) == 0
    for statuses in (("unreliable",), ("ok", "unreliable"), ("unreliable", "ok")):
        assert exit_code(*statuses) == 1


def test_the_same_attacks_are_named_with_their_steps() -> None:
    hidden = TrustCheck("zero gradients", 1.0, 0.05, "share", "mend it")
    words = ["evaluate", "a b.onnx"]
    step = step_after(words, [hidden], "pgd", 20, 1)
    assert step is not None
    assert step.command == "harden evaluate 'a b.onnx' --attacks pgd --steps 20 --restarts 1"
    assert step_after(words, [FIRED], "pgd", 20, 1).command.endswith(".onnx' --attacks standard")  # type: ignore[union-attr]
    assert step_after(words, [hidden], "standard").command == "harden evaluate 'a b.onnx'"  # type: ignore[union-attr]
    assert step_after(words, [], "standard") is None
