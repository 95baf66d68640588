"""`harden certify --vnnlib`: the last line is the answer, a counterexample is written where one is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harden.bounds.vnnlib.prove_unsat import ClauseResult
from harden.cli.commands import certify_property as subject
from harden.cli.commands.certify_property import METHOD, certify_property
from harden.cli.options.certify_options import CertifyOptions
from harden.deployed.decide_property import PropertyDecision, PropertySearch
from harden.errors import InputError
from harden.evaluation.proofs.methods import method_named
from harden.evaluation.proofs.proof_report import LIMITS
from harden.evaluation.proofs.random_restarts import Counterexample
from harden.evaluation.proofs.runtime_agreement import ComparedRuntime, Disagreement
from tests.deployed.lines import line_file

FOUND = Counterexample(np.full((1, 2, 2), 0.625, np.float32), np.array([0.0, 0.5], np.float32))
UNSAT = PropertyDecision(
    answer="unsat",
    counterexample=None,
    clauses=(ClauseResult(True), ClauseResult(True)),
    compared=ComparedRuntime("onnxruntime 1.0", ("all, 1 thread",), 1),
    disagreement=None,
    method="CROWN",
    seconds=2.5,
    sha256="ab" * 32,
)
SAT = replace(UNSAT, answer="sat", counterexample=FOUND, clauses=())
UNKNOWN = replace(UNSAT, answer="unknown", clauses=(ClauseResult(True), ClauseResult(False)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return line_file(tmp_path)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """The image is dark and the answer is bright, in two clauses."""
    names = [f"(declare-const X_{at} Real)" for at in range(4)]
    names += [f"(declare-const Y_{at} Real)" for at in range(2)]
    box = " ".join(f"(>= X_{at} 0.125) (<= X_{at} 0.25)" for at in range(4))
    rows = f"(assert (or (and {box} (>= Y_1 Y_0)) (and {box} (>= Y_1 1.0))))"
    path = tmp_path / "p.vnnlib"
    path.write_text("\n".join([*names, rows]))
    return path


class Said:
    """What was decided, and how it was requested."""

    how: PropertySearch
    path: Path
    clauses: int


def decided(monkeypatch: pytest.MonkeyPatch, decision: PropertyDecision) -> Said:
    said = Said()

    def decide(path: Path, given: Any, how: PropertySearch) -> PropertyDecision:
        said.path, said.clauses, said.how = path, len(given.clauses), how
        return decision

    monkeypatch.setattr(subject, "decide_property", decide)
    return said


def test_the_answer_is_the_last_line_and_the_code_is_0(
    path: Path, given: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for decision in (UNSAT, SAT, UNKNOWN):
        decided(monkeypatch, decision)
        assert certify_property(CertifyOptions(str(path)), given) == 0
        assert capsys.readouterr().out.splitlines()[-1] == decision.answer


def test_the_options_reach_the_decision(path: Path, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = decided(monkeypatch, UNSAT)
    certify_property(CertifyOptions(str(path.parent), method="crown", minutes=2.0, seed=7), given)
    assert (said.path, said.clauses) == (path, 2)
    assert said.how.method == method_named("crown")
    assert (said.how.minutes, said.how.seed, str(said.how.device)) == (2.0, 7, "cpu")
    certify_property(CertifyOptions(str(path)), given)
    assert said.how.method == method_named(METHOD)
    assert said.how.minutes is None


def test_json_has_all_of_it(path: Path, given: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    decided(monkeypatch, UNSAT)
    certify_property(CertifyOptions(str(path), json_file=tmp_path / "a.json"), given)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "clauses": 2,
        "answer": "unsat",
        "refuted": 2,
        "complete": True,
        "compared": {"build": "onnxruntime 1.0", "sessions": ["all, 1 thread"], "graphs": 1},
        "disagreement": None,
        "method": "CROWN",
        "seconds": 2.5,
        "witness": None,
        "output": None,
        "sha256": "ab" * 32,
        "limits": list(LIMITS),
    }


def test_a_counterexample_is_written_as_a_batch_of_one(
    path: Path,
    given: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decided(monkeypatch, SAT)
    witness = tmp_path / "w.npy"
    options = CertifyOptions(str(path), witness=witness, json_file=tmp_path / "a.json")
    certify_property(options, given)
    stored = np.load(witness)
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, FOUND.x[None])
    said = " ".join(capsys.readouterr().out.split())
    assert f"counterexample in {witness}, which onnxruntime answers with [0.0, 0.5]" in said
    answer = json.loads((tmp_path / "a.json").read_text())
    assert (answer["witness"], answer["output"]) == (str(witness), [0.0, 0.5])
    assert (answer["answer"], answer["refuted"], answer["complete"]) == ("sat", 0, True)


def test_without_a_place_for_it_the_option_is_named(
    path: Path, given: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decided(monkeypatch, SAT)
    certify_property(CertifyOptions(str(path)), given)
    assert "a counterexample was found; --witness FILE.npy writes it" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [UNSAT, UNKNOWN])
def test_without_a_counterexample_no_file_is_written(
    path: Path, given: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: PropertyDecision
) -> None:
    decided(monkeypatch, answer)
    certify_property(CertifyOptions(str(path), witness=tmp_path / "w.npy"), given)
    assert not (tmp_path / "w.npy").exists()


@pytest.mark.parametrize("stopped", [False, True])
def test_an_open_answer_says_how_far_it_came_and_whether_time_ended_it(
    path: Path,
    given: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stopped: bool,
) -> None:
    clauses = (ClauseResult(True), ClauseResult(False, stopped=stopped))
    decided(monkeypatch, replace(UNKNOWN, clauses=clauses))
    certify_property(CertifyOptions(str(path), json_file=tmp_path / "a.json"), given)
    lines = capsys.readouterr().out.splitlines()
    said = "1 of 2 clauses refuted"
    assert lines[-2:] == [f"{said}; time was up" if stopped else said, "unknown"]
    answer = json.loads((tmp_path / "a.json").read_text())
    assert (answer["complete"], answer["refuted"]) == (not stopped, 1)


def test_where_the_runtime_leaves_its_bounds_that_is_said(
    path: Path,
    given: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    apart = Disagreement("all", 3, 1, 0.5, 0.25, 0.375)
    decided(monkeypatch, replace(UNKNOWN, disagreement=apart))
    certify_property(CertifyOptions(str(path), json_file=tmp_path / "a.json"), given)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"nothing is proved: {apart}")
    assert "clauses refuted" not in said
    assert json.loads((tmp_path / "a.json").read_text())["disagreement"] == str(apart)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"\xff\xfe\x80", "not text")]
)
def test_a_property_that_can_not_be_read_is_named(
    path: Path, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    other = tmp_path / "q.vnnlib"
    if content is not None:
        other.write_bytes(content)
    with pytest.raises(InputError) as caught:
        certify_property(CertifyOptions(str(path)), other)
    assert caught.value.seen == f"{other} ({reason})"
    assert caught.value.expected == "a VNN-LIB file"
    assert caught.value.instead == "name an existing file"


def test_wrong_options_are_refused_before_the_property_is_read(path: Path, tmp_path: Path) -> None:
    none = tmp_path / "none.vnnlib"
    for options, seen in (
        (CertifyOptions(str(path), method="hard"), "--method hard"),
        (CertifyOptions(str(path), device="tpu:x"), "tpu:x"),
        (CertifyOptions(str(path), minutes=-1.0), "--minutes -1"),
        (CertifyOptions("none.onnx"), "none.onnx"),
    ):
        with pytest.raises(InputError, match=seen):
            certify_property(options, none)
