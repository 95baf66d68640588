"""VNN-LIB properties proved: the same answers as `certify`, and nothing that a point contradicts."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from harden.bounds import Branching, Method, Program, certify
from harden.bounds.crown.intermediate_bounds import relax
from harden.bounds.vnnlib import prove_unsat
from harden.bounds.vnnlib.parse import parse
from harden.bounds.vnnlib.prove_unsat import refute_clauses, refuted_clauses
from harden.errors import InputError
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import KINDS, runtime

EPS = "1/64"


def specification(x: torch.Tensor, y: int, classes: int) -> str:
    """Some other class is ahead somewhere in the ball, cut to [0, 1]."""
    lines = [f"(declare-const X_{at} Real)" for at in range(len(x))]
    lines += [f"(declare-const Y_{at} Real)" for at in range(classes)]
    for at, value in enumerate(x.double().tolist()):
        lines.append(f"(assert (>= X_{at} {max(value - 1 / 64, 0):.25f}))")
        lines.append(f"(assert (<= X_{at} {min(value + 1 / 64, 1):.25f}))")
    others = " ".join(f"(and (>= Y_{at} Y_{y}))" for at in range(classes) if at != y)
    return "\n".join([*lines, f"(assert (or {others}))"])


@pytest.mark.parametrize("kind", ["dense", "conv", "pooling"])
def test_a_ball_as_a_property_has_the_answer_of_certify(kind: str) -> None:
    built = KINDS[kind](0)
    program = Program.of(read(built.model()))
    x = torch.rand(8, *built.shape, generator=torch.Generator().manual_seed(0))
    y = torch.from_numpy(runtime(built.model())(x.numpy()).argmax(1))
    method = Method(climb=None)
    certified = certify(program, x, y, Linf(EPS), method).certified.tolist()
    found = [
        all(
            refuted_clauses(
                program, parse(specification(image.flatten(), int(label), program.classes)), method
            )
        )
        for image, label in zip(x, y, strict=True)
    ]
    assert found == certified
    assert sum(found) > 0


def test_a_clause_that_a_point_satisfies_is_not_refuted() -> None:
    built = KINDS["dense"](1)
    model = built.model()
    program, run = Program.of(read(model)), runtime(model)
    names = " ".join(f"(declare-const X_{at} Real)" for at in range(6))
    names += " ".join(f"(declare-const Y_{at} Real)" for at in range(4))
    box = " ".join(f"(assert (>= X_{at} 0)) (assert (<= X_{at} 1))" for at in range(6))
    points = np.random.default_rng(0).uniform(0, 1, (5000, 6)).astype(np.float32)
    logits = run(points).astype(np.float64)
    lowest = logits[:, 0].min()
    assert refuted_clauses(program, parse(f"{names}{box}(assert (<= Y_0 {lowest:.9f}))")) == (False,)
    assert refuted_clauses(program, parse(f"{names}{box}(assert (<= Y_0 {lowest - 100:.9f}))")) == (True,)
    both = f"{names}{box}(assert (<= Y_0 {lowest:.9f}))(assert (<= Y_0 {lowest - 100:.9f}))"
    assert refuted_clauses(program, parse(both)) == (True,)
    assert refuted_clauses(program, parse(f"{names}{box}(assert (>= X_0 2))(assert (<= Y_0 0))")) == (True,)


def test_what_does_not_fit_is_refused() -> None:
    program = Program.of(read(KINDS["dense"](1).model()))
    one = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= Y_0 0))"
    with pytest.raises(InputError, match="1 inputs and 1 outputs; expected 6 and 4"):
        refuted_clauses(program, parse(one))
    names = " ".join(f"(declare-const X_{at} Real)" for at in range(6))
    names += " ".join(f"(declare-const Y_{at} Real)" for at in range(4))
    with pytest.raises(InputError, match="X_0 without a lower bound"):
        refuted_clauses(program, parse(names + "(assert (<= Y_0 0))"))
    box = " ".join(f"(assert (>= X_{at} 0)) (assert (<= X_{at} 1))" for at in range(6))
    with pytest.raises(InputError, match="one that float32 holds"):
        refuted_clauses(program, parse(names + box + "(assert (<= (* 0.1 Y_0) 0))"))


def test_the_method_is_the_one_that_was_asked_for() -> None:
    """Intervals alone refute less than CROWN, and say so: a limit between both bounds tells them apart."""
    built = KINDS["dense"](1)
    program = Program.of(read(built.model()))
    names = " ".join(f"(declare-const X_{at} Real)" for at in range(6))
    names += " ".join(f"(declare-const Y_{at} Real)" for at in range(4))
    box = " ".join(f"(assert (>= X_{at} 0.4)) (assert (<= X_{at} 0.6))" for at in range(6))
    answered = set()
    for limit in range(-60, 60):
        given = parse(f"{names}{box}(assert (<= Y_0 {limit / 20}))")
        answered.add(
            (
                refuted_clauses(program, given, Method(climb=None, backward=False))[0],
                refuted_clauses(program, given, Method(climb=None))[0],
            )
        )
    assert answered == {(True, True), (False, True), (False, False)}


def test_clauses_of_one_box_share_its_bounds_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*given: object, **more: object) -> object:
        made.append(more["backward"])
        return relax(*given, **more)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(prove_unsat, "relax", counted)
    built = KINDS["dense"](1)
    program = Program.of(read(built.model()))
    names = " ".join(f"(declare-const X_{at} Real)" for at in range(6))
    names += " ".join(f"(declare-const Y_{at} Real)" for at in range(4))
    box = " ".join(f"(assert (>= X_{at} 0.4)) (assert (<= X_{at} 0.6))" for at in range(6))
    many = " ".join(f"(and (<= Y_{at} {level}))" for at in range(4) for level in (-9, -1, 9))
    together = refute_clauses(program, parse(f"{names}{box}(assert (or {many}))"), Method(climb=None))
    assert len(made) == 2
    one_by_one = [
        refuted_clauses(program, parse(f"{names}{box}(assert (<= Y_{at} {level}))"), Method(climb=None))[0]
        for at in range(4)
        for level in (-9, -1, 9)
    ]
    assert [answer.refuted for answer in together] == one_by_one
    assert set(one_by_one) == {True, False}


def test_without_time_every_clause_is_open() -> None:
    built = KINDS["dense"](1)
    program = Program.of(read(built.model()))
    names = " ".join(f"(declare-const X_{at} Real)" for at in range(6))
    names += " ".join(f"(declare-const Y_{at} Real)" for at in range(4))
    box = " ".join(f"(assert (>= X_{at} 0.4)) (assert (<= X_{at} 0.6))" for at in range(6))
    given = parse(f"{names}{box}(assert (or (and (<= Y_0 -99)) (and (<= Y_1 -99))))")
    assert [answer.refuted for answer in refute_clauses(program, given)] == [True, True]
    assert [answer.refuted for answer in refute_clauses(program, given, until=-1.0)] == [False, False]


def test_open_clauses_take_turns_until_one_has_a_counterexample() -> None:
    built = KINDS["dense"](1)
    program = Program.of(read(built.model()))
    names = " ".join(f"(declare-const X_{at} Real)(assert (>= X_{at} 0))" for at in range(6))
    names += " ".join(f"(declare-const Y_{at} Real)(assert (<= X_{at} 1))" for at in range(4))
    names += "(assert (<= X_4 1))(assert (<= X_5 1))"
    x = torch.rand(5000, 6, generator=torch.Generator().manual_seed(0))
    lowest = [value - 0.02 for value in read(built.model()).run(x).amin(0).tolist()]
    parts = " ".join(f"(and (<= Y_{at} {lowest[at]:.6f}))" for at in range(3))
    given = parse(f"{names}(assert (or {parts} (and (<= Y_3 -99))))")
    seen: list[int] = []

    def probe(clause: int, point: torch.Tensor) -> bool:
        assert bool(((point >= 0) & (point <= 1)).all())
        seen.append(clause)
        return len(seen) == most

    method, ticks = Method(climb=None, branching=Branching(seconds=90.0, axes=0, steps=1)), iter(range(10**9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: float(next(ticks)))
        most = 10**9
        found = refute_clauses(program, given, method, probe=probe)
        assert set(seen[:3]) == {0, 1, 2}  # each had a turn before any had a second one
        assert len(seen) > 3
        assert found[3].refuted
        assert not found[3].stopped
        seen, most = [], 2
        found = refute_clauses(program, given, method, probe=probe)
    assert len(seen) == 2
    assert not any(answer.refuted for answer in found[:3])


def test_numbers_beyond_float64_are_bounds_as_well() -> None:
    built = KINDS["dense"](1)
    program = Program.of(read(built.model()))
    names = " ".join(f"(declare-const X_{at} Real)(assert (>= X_{at} 0))" for at in range(6))
    names += " ".join(f"(declare-const Y_{at} Real)(assert (<= X_{at} 1))" for at in range(4))
    names += "(assert (<= X_4 1))(assert (<= X_5 {upper}))"
    narrow, wide = names.format(upper="1"), names.format(upper="1e400")
    assert refuted_clauses(program, parse(f"{narrow}(assert (<= Y_0 -1e400))")) == (True,)
    assert refuted_clauses(program, parse(f"{narrow}(assert (<= Y_0 1e400))")) == (False,)
    assert refuted_clauses(program, parse(f"{narrow}(assert (>= Y_0 1e400))")) == (True,)
    for method in (Method(climb=None), Method(branching=Branching(None, 20))):
        assert refuted_clauses(program, parse(f"{wide}(assert (<= Y_0 -5))"), method) == (False,)
    with pytest.raises(InputError, match="the coefficient"):
        refuted_clauses(program, parse(f"{narrow}(assert (<= (* 1e400 Y_0) 0))"))
