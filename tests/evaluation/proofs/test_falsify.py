"""Counterexamples of VNN-LIB properties: in the box, true of the runtime, and strict where it is written."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harden.attacks import PGD
from harden.bounds.vnnlib.parse import Property, parse
from harden.evaluation.proofs.falsify import counterexample
from harden.evaluation.proofs.random_restarts import Counterexample, FalsificationProblem

WEIGHT = torch.tensor([[1.0, -2.0], [0.5, 1.0]])
HEAD = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))


def network(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x @ WEIGHT.T)


def runtime(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return network(torch.from_numpy(x)).numpy()


def property_of(*assertions: str) -> Property:
    return parse(HEAD + "".join(f"(assert {each})" for each in assertions))


BOX = ("(>= X_0 -1)", "(<= X_0 1)", "(>= X_1 -0.1)", "(<= X_1 0.3)")


def search(given: Property, seed: int = 0) -> Counterexample | None:
    return counterexample(
        FalsificationProblem(network, runtime, (2,), given),
        seed=seed,
        rounds=(PGD(steps=20), PGD(steps=50, restarts=5)),
    )


def test_the_far_corner_is_found() -> None:
    found = search(property_of(*BOX, "(>= Y_0 1.19)"))  # 1.2 at (1, -0.1)
    assert found is not None
    assert found.y[0] >= np.float32(1.19)
    assert np.array_equal(found.y, runtime(found.x[None])[0])
    assert -1 <= found.x[0] <= 1
    assert float(found.x[1]) >= -0.1  # the nearest float32 of -0.1 is outside of the box
    assert float(found.x[1]) <= 0.3


def test_nothing_is_found_where_nothing_is() -> None:
    assert search(property_of(*BOX, "(>= Y_0 1.21)")) is None


def test_all_rows_have_to_hold() -> None:
    assert search(property_of(*BOX, "(>= Y_0 0.9)", "(<= Y_1 0.46)")) is not None
    assert search(property_of(*BOX, "(>= Y_0 0.9)", "(<= Y_1 0.2)")) is None  # Y_1 is above 0.35 there


def test_one_alternative_is_enough_wherever_it_stands() -> None:
    found = search(property_of(*BOX, "(or (and (>= Y_0 5)) (and (>= Y_0 4) (>= Y_1 4)) (and (>= Y_1 0.79)))"))
    assert found is not None
    assert found.y[1] >= np.float32(0.79)


def test_an_edge_is_no_counterexample_of_a_strict_comparison() -> None:
    """ReLU is 0 in half of the box: Y_0 <= 0 holds there and Y_0 < 0 nowhere."""
    assert search(property_of(*BOX, "(<= Y_0 0)")) is not None
    assert search(property_of(*BOX, "(< Y_0 0)")) is None


def test_a_box_between_two_floats_holds_no_input() -> None:
    between = ("(>= X_0 1.00000001)", "(<= X_0 1.00000002)", *BOX[2:])
    assert search(property_of(*between, "(>= Y_0 -1)")) is None


def test_without_limits_any_input_will_do() -> None:
    found = search(property_of(*BOX))
    assert found is not None


def test_the_runtime_decides() -> None:
    def other(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(x), 2), dtype=np.float32)

    given = property_of(*BOX, "(>= Y_0 0.5)")
    assert counterexample(FalsificationProblem(network, other, (2,), given), rounds=(PGD(steps=20),)) is None


def test_the_same_seed_finds_the_same() -> None:
    given = property_of(*BOX, "(>= Y_0 0.1)", "(>= Y_1 0.1)")
    one, other = search(given, 3), search(given, 3)
    assert one is not None
    assert other is not None
    assert np.array_equal(one.x, other.x)


@pytest.mark.parametrize("count", [1, 64, 65, 130])
def test_any_number_of_clauses(count: int) -> None:
    parts = " ".join(f"(and (>= Y_0 {10 + at}))" for at in range(count - 1))
    found = search(property_of(*BOX, f"(or {parts} (and (>= Y_1 0.7)))"))
    assert found is not None
    assert found.y[1] >= np.float32(0.7)


def test_numbers_beyond_float32_are_bounds_as_well() -> None:
    """A box that no float32 reaches holds no input; one that reaches beyond all of them holds the largest."""
    assert search(property_of("(>= X_0 1e39)", "(<= X_0 1e400)", *BOX[2:], "(>= Y_0 -1)")) is None
    assert search(property_of("(>= X_0 -1e400)", "(<= X_0 -1e39)", *BOX[2:], "(>= Y_0 -1)")) is None
    found = search(property_of("(>= X_0 -1e400)", "(<= X_0 1e400)", *BOX[2:], "(<= Y_0 1e400)"))
    assert found is not None
    assert np.isfinite(found.x).all()
    assert search(property_of(*BOX, "(<= Y_0 -1e400)")) is None


def test_it_ends_in_the_middle_of_an_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**9))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    rounds = (PGD(steps=1000, restarts=1000),)
    given = property_of(*BOX, "(>= Y_0 1.21)")
    assert (
        counterexample(FalsificationProblem(network, runtime, (2,), given), until=50.0, rounds=rounds) is None
    )
    assert next(ticks) <= 52
