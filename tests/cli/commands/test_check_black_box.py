"""harden check and baseline on a file whose graph can't be read, or is left unread."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from harden.artefact.classifier_to_onnx import trace
from harden.data import load
from harden.models import Classifier
from tests.fitted import fitted

Harden = Callable[..., Any]
ATTACK = ("--eps", "1/10", "--attacks", "quick", "--test-images", "20")


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gate") / "readable.onnx"
    onnx.save(trace(Classifier(fitted(load("digits"), 80)), (1, 8, 8)), path)
    return path


@pytest.fixture(scope="module")
def unreadable(readable: Path) -> Path:
    """The same logits through an operator without a rule: z + 0 sin z."""
    model = onnx.load(readable)
    for node in model.graph.node:
        node.output[:] = ["raw" if name == "logits" else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    model.graph.node.extend(
        [
            helper.make_node("Sin", ["raw"], ["sine"]),
            helper.make_node("Mul", ["sine", "nothing"], ["zero"]),
            helper.make_node("Add", ["raw", "zero"], ["logits"]),
        ]
    )
    path = readable.with_name("unreadable.onnx")
    onnx.save(model, path)
    return path


@pytest.fixture
def words(tmp_path: Path) -> tuple[object, ...]:
    return ("--data", "digits", "--baseline", tmp_path / "baseline.json")


@pytest.mark.parametrize("command", ["baseline update", "certify"])
def test_an_operator_without_a_rule_is_named_with_what_can_be_had(
    harden: Harden, unreadable: Path, tmp_path: Path, command: str
) -> None:
    more = ATTACK if command != "certify" else ("--eps", "1/50")
    place = ("--baseline", tmp_path / "b.json") if command != "certify" else ("--json", tmp_path / "p.json")
    answer = harden(*command.split(), unreadable, "--data", "digits", *more, *place)
    assert answer.code == 2
    assert "Sin (no rule)" in answer.err
    assert "proofs of it, need one for each" in answer.err
    assert "write --black-box" in answer.err
    assert answer.err.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_it_is_gated_by_its_scores_alone(
    harden: Harden, unreadable: Path, words: tuple[object, ...], tmp_path: Path
) -> None:
    answer = harden("baseline", "update", unreadable, *words, *ATTACK, "--black-box")
    assert answer.code == 0, answer.out + answer.err
    (check,) = json.loads((tmp_path / "baseline.json").read_text())["checks"].values()
    assert check["setting"]["evidence"] == "C"
    assert {*check["setting"]["attacks"]["attempts"]} == {"square"}
    assert (
        0 < check["outcomes"]["robust"]["accuracy"]["count"] < check["outcomes"]["clean"]["accuracy"]["count"]
    )
    answer = harden("check", unreadable, *words, "--black-box", "--json", tmp_path / "f.json")
    assert answer.code == 0, answer.out + answer.err
    answer = harden("check", unreadable, *words)
    assert answer.code == 4
    assert "evidence level (C there, A here)" in answer.err
    assert "check with --black-box" in answer.err
    (tmp_path / "harden.toml").write_text("black-box = true\n")
    answer = harden("check", unreadable, *words, "--config", tmp_path / "harden.toml")
    assert answer.code == 0, answer.out + answer.err


def test_levels_are_not_compared(harden: Harden, readable: Path, words: tuple[object, ...]) -> None:
    assert harden("baseline", "update", readable, *words, *ATTACK).code == 0
    answer = harden("check", readable, *words, "--black-box")
    assert answer.code == 4
    assert "evidence level (A there, C here)" in answer.err
    assert "check without --black-box" in answer.err
    answer = harden("baseline", "update", readable, *words, *ATTACK, "--black-box")
    assert answer.code == 1
    assert "evidence level (A there, C here)" in answer.err


def test_a_proof_has_no_black_box(harden: Harden, readable: Path, words: tuple[object, ...]) -> None:
    answer = harden("baseline", "update", readable, *words, *ATTACK, "--black-box", "--certify")
    assert answer.code == 2
    assert "--certify with --black-box" in answer.err


def test_speed_alone_times_answers(harden: Harden, unreadable: Path, tmp_path: Path) -> None:
    words = ("--data", "digits", "--bench", unreadable, "--bench-rounds", "6", "--bench-images", "4")
    out = tmp_path / "f.json"
    answer = harden("check", unreadable, *words, "--black-box", "--bench-margin", "500%", "--json", out)
    assert answer.code in (0, 3), answer.out + answer.err
    assert "inference" in answer.out
    assert "attack" not in answer.out
    answer = harden("check", unreadable, *words)
    assert answer.code == 2
    assert "Sin (no rule)" in answer.err
