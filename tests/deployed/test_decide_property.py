"""Decisions about a property: a counterexample that the runtime confirms, a proof, or neither."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harden.artefact.runtime.executed_programs import executions
from harden.bounds import Branching, Method
from harden.bounds.vnnlib.parse import Property, parse
from harden.bounds.vnnlib.prove_unsat import ClauseResult
from harden.certificate.canonical_json import sha256_file
from harden.deployed import decide_property as subject
from harden.deployed.decide_property import (
    BOXES,
    PARTS,
    PropertyDecision,
    PropertySearch,
    _answer,
    _default,
    _points,
    decide_property,
)
from harden.errors import InputError
from harden.evaluation.proofs.random_restarts import Counterexample, RandomRestarts
from harden.evaluation.proofs.runtime_agreement import Disagreement
from tests.deployed.lines import line_file, line_net

pytestmark = pytest.mark.usefixtures("rng_untouched")

CROWN = Method(climb=None)
HOW = PropertySearch(CROWN)
FOUND = Counterexample(np.zeros((1, 2, 2), np.float32), np.zeros(2, np.float32))


def boxed(*clauses: tuple[float, float], wrong: str = "(>= Y_1 Y_0)") -> Property:
    """All four pixels of an image in one of some intervals, and then the negated requirement."""
    names = "".join(f"(declare-const X_{at} Real)\n" for at in range(4))
    names += "".join(f"(declare-const Y_{at} Real)\n" for at in range(2))
    ways = " ".join(
        "(and " + " ".join(f"(>= X_{at} {low}) (<= X_{at} {high})" for at in range(4)) + f" {wrong})"
        for low, high in clauses
    )
    return parse(f"{names}(assert (or {ways}))\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return line_file(tmp_path)


@pytest.fixture
def no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """For properties that hold, where no attack can succeed, and for those of which a later one has to."""
    monkeypatch.setattr(subject, "counterexample", lambda *_, **__: None)


# Settings


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_a_limit_of_time_is_a_positive_number(minutes: float) -> None:
    with pytest.raises(InputError) as caught:
        PropertySearch(CROWN, minutes)
    assert (caught.value.seen, caught.value.expected, caught.value.instead) == (
        f"--minutes {minutes:g}",
        "a positive number",
        "write --minutes 5",
    )


def test_a_method_without_branching_stays_as_it_is() -> None:
    assert HOW.method_within(7.0) is CROWN


@pytest.mark.parametrize(
    ("minutes", "seconds", "expected"),
    [
        (None, 7.0, Branching(seconds=7.0, parts=PARTS)),
        (2.0, 7.0, Branching(seconds=7.0, parts=None)),
        (2.0, -1.0, Branching(seconds=0.0, parts=None)),
    ],
)
def test_branching_has_the_rest_of_the_time_and_ends_by_itself_without_a_limit(
    minutes: float | None, seconds: float, expected: Branching
) -> None:
    method = Method(climb=None, branching=Branching(seconds=None, parts=3))
    assert PropertySearch(method, minutes).method_within(seconds).branching == expected


# Answers


@pytest.mark.parametrize(
    ("found", "refuted", "answer"),
    [
        (FOUND, (), "sat"),
        (FOUND, (True,), "sat"),
        (None, (True, True), "unsat"),
        (None, (True, False), "unknown"),
        (None, (False,), "unknown"),
    ],
)
def test_one_open_clause_leaves_the_answer_open(
    found: Counterexample | None, refuted: tuple[bool, ...], answer: str
) -> None:
    assert _answer(found, tuple(ClauseResult(each) for each in refuted)) == answer


def test_a_counterexample_is_in_the_box_and_the_runtime_answers_it_so(path: Path) -> None:
    """Bright where the box reaches a pixel mean of 1/2."""
    found = decide_property(path, boxed((0.25, 0.625)), HOW)
    assert found.answer == "sat"
    assert found.counterexample is not None
    x, y = found.counterexample.x, found.counterexample.y
    assert x.dtype == np.float32
    assert x.shape == (1, 2, 2)
    assert float(x.min()) >= 0.25
    assert float(x.max()) <= 0.625
    assert y[1] >= y[0]
    assert float(y[1]) == pytest.approx(float(x.sum()) - 2, abs=1e-6)
    assert found.clauses == ()
    assert found.disagreement is None
    assert found.sha256 == sha256_file(path)


@pytest.mark.usefixtures("no_attack")
def test_a_property_that_holds_is_proved(path: Path) -> None:
    found = decide_property(path, boxed((0.125, 0.4375), (0.25, 0.375)), HOW)
    assert (found.answer, found.counterexample) == ("unsat", None)
    assert [clause.refuted for clause in found.clauses] == [True, True]
    assert found.method == str(CROWN)
    assert found.seconds >= 0
    assert found.compared.graphs >= 1
    assert "onnxruntime" in found.compared.build


def test_one_way_to_break_it_is_enough(path: Path) -> None:
    found = decide_property(path, boxed((0.125, 0.4375), (0.25, 0.75)), HOW)
    assert found.answer == "sat"
    assert found.counterexample is not None
    assert float(found.counterexample.x.max()) > 0.4375


def test_the_edge_counts(path: Path) -> None:
    """At 1/2 both logits are 0, and the comparison is not strict."""
    assert decide_property(path, boxed((0.25, 0.5)), HOW).answer == "sat"


def test_where_the_runtime_leaves_its_bounds_nothing_is_proved(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = Disagreement("all", 0, 0, 1.0, 0.0, 0.5)
    monkeypatch.setattr(subject, "first_disagreement", lambda executed, points: apart)
    # A counterexample needs no bounds.
    assert decide_property(path, boxed((0.25, 0.75)), HOW).answer == "sat"
    monkeypatch.setattr(subject, "counterexample", lambda *_, **__: None)
    found = decide_property(path, boxed((0.125, 0.4375), (0.25, 0.375)), HOW)
    assert (found.answer, found.disagreement) == ("unknown", apart)
    assert [clause.refuted for clause in found.clauses] == [False, False]


def test_a_property_for_another_file_is_refused(path: Path) -> None:
    three = parse(
        "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0))(assert (<= X_0 1))"
        "(assert (>= Y_0 0))"
    )
    with pytest.raises(InputError, match="1 input"):
        decide_property(path, three, HOW)
    with pytest.raises(InputError, match=r"none\.onnx"):
        decide_property(path.with_name("none.onnx"), three, HOW)


@pytest.mark.usefixtures("no_attack")
def test_bounds_that_do_not_suffice_leave_it_unknown_and_say_whether_time_ended_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> tuple[ClauseResult, ...]:
        return (ClauseResult(True), ClauseResult(False, stopped=True))

    monkeypatch.setattr(subject, "refute_clauses", stopped)
    found = decide_property(path, boxed((0.125, 0.4375), (0.25, 0.375)), HOW)
    assert found.answer == "unknown"
    assert [clause.stopped for clause in found.clauses] == [False, True]


@pytest.mark.usefixtures("no_attack")
def test_attacks_go_on_for_the_given_time_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit they end by themselves; with one, they find what the first ones missed."""
    monkeypatch.setattr(subject, "refute_clauses", lambda *_, **__: (ClauseResult(False),))
    free = decide_property(path, boxed((0.25, 0.75)), HOW)
    assert free.answer == "unknown"
    limited = decide_property(path, boxed((0.25, 0.75)), PropertySearch(CROWN, 1.0))
    assert limited.answer == "sat"


@pytest.mark.usefixtures("no_attack")
def test_a_candidate_of_the_branching_is_replayed_in_the_runtime(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bool] = []

    def branching(*_: Any, probe: Any, **__: Any) -> tuple[ClauseResult, ...]:
        answers.append(probe(0, torch.full((1, 2, 2), 0.25, dtype=torch.float64)))
        answers.append(probe(0, torch.full((1, 2, 2), 0.625, dtype=torch.float64)))
        return (ClauseResult(False),)

    monkeypatch.setattr(subject, "refute_clauses", branching)
    # Nothing but the replay: no random restarts.
    monkeypatch.setattr(RandomRestarts, "run", lambda *_: None)
    found = decide_property(path, boxed((0.25, 0.75)), HOW)
    assert answers == [False, True]
    assert found.answer == "sat"
    assert found.counterexample is not None
    assert found.counterexample.x.flatten().tolist() == [0.625] * 4


# Points of comparison, and the graph of the gradients


def program_and(*clauses: tuple[float, float]) -> tuple[Any, Property]:
    return executions(line_net().SerializeToString())[0].program, boxed(*clauses)


def test_the_runtime_is_compared_at_points_of_the_boxes() -> None:
    program, given = program_and((0.25, 0.375), (0.5, 0.75))
    points = _points(program, given, 0)
    assert points.shape[1:] == (1, 2, 2)
    assert len(points) >= 16
    pixels = points.flatten()
    inside = ((pixels >= 0.25) & (pixels <= 0.375)) | ((pixels >= 0.5) & (pixels <= 0.75))
    assert bool(inside.all())
    assert bool((pixels <= 0.375).any())
    assert bool((pixels >= 0.5).any())
    assert torch.equal(points, _points(program, given, 0))
    assert not torch.equal(points, _points(program, given, 1))


def test_of_many_boxes_the_first_ones_are_compared_and_empty_ones_are_left_out() -> None:
    program, given = program_and(*[(0.25, 0.375)] * BOXES, (0.5, 0.75))
    assert float(_points(program, given, 0).max()) <= 0.375
    program, given = program_and((0.375, 0.25))
    assert _points(program, given, 0).shape == (0, 1, 2, 2)


def test_gradients_are_those_of_the_graph_that_a_default_session_executes() -> None:
    graph: Any = object()
    every: Any = [
        SimpleNamespace(levels=("disabled",), graph=None),
        SimpleNamespace(levels=("basic", "all"), graph=graph),
    ]
    assert _default(every) is graph
    without: Any = [SimpleNamespace(levels=("all",), graph=None)]
    with pytest.raises(TypeError, match="without their graphs"):
        _default(without)


def test_a_decision_can_not_be_changed(path: Path) -> None:
    found = decide_property(path, boxed((0.25, 0.75)), HOW)
    assert isinstance(found, PropertyDecision)
    with pytest.raises(AttributeError):
        found.answer = "unsat"  # type: ignore[misc]  # wrong on purpose
