"""Restarts find what one ascent does not, near what they are given, and end with the clock."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.attacks import PGD
from harden.bounds.vnnlib.parse import Property, parse
from harden.evaluation.proofs.falsify import counterexample
from harden.evaluation.proofs.random_restarts import FalsificationProblem, RandomRestarts

SIZE = 2
PEAK = torch.tensor([0.62, -0.41])
"""Where the one counterexample lies; from nearly everywhere the gradient leads to another, lower maximum."""


def network(x: Tensor) -> Tensor:
    """A wide hill at the far corner, and a narrow peak that is higher."""
    wide = 1 - (x - 1).abs().mean(1) / 4
    narrow = 1.5 - 6 * (x - PEAK).abs().amax(1)
    return torch.stack([torch.maximum(wide, narrow), torch.zeros(len(x))], 1)


def runtime(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return network(torch.from_numpy(x)).numpy()


def property_of(limit: float) -> Property:
    text = "".join(f"(declare-const X_{at} Real)" for at in range(SIZE))
    text += "(declare-const Y_0 Real)(declare-const Y_1 Real)"
    text += "".join(f"(assert (>= X_{at} -1))(assert (<= X_{at} 1))" for at in range(SIZE))
    return parse(f"{text}(assert (or (and (>= Y_1 1)) (and (>= Y_0 {limit}))))")


def restarts(limit: float, seed: int = 0, together: int = 16) -> RandomRestarts:
    return RandomRestarts(FalsificationProblem(network, runtime, (SIZE,), property_of(limit)), together, seed)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> itertools.count[int]:
    ticks = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    return ticks


def test_what_one_ascent_misses_many_find(ticking: itertools.count[int]) -> None:
    given = property_of(1.2)
    assert (
        counterexample(FalsificationProblem(network, runtime, (SIZE,), given), rounds=(PGD(steps=20),))
        is None
    )
    found = restarts(1.2).run(1e6)
    assert found is not None
    assert found.y[0] >= 1.2
    assert bool((np.abs(found.x) <= 1).all())
    assert next(ticking) < 1e6


def test_the_same_seed_finds_the_same(ticking: itertools.count[int]) -> None:
    one, same, other = (restarts(1.2, seed).run(1e6) for seed in (1, 1, 2))
    assert one is not None
    assert same is not None
    assert other is not None
    assert np.array_equal(one.x, same.x)
    assert not np.array_equal(one.x, other.x)
    assert next(ticking) < 3e6


def test_a_point_that_is_given_is_a_start(ticking: itertools.count[int]) -> None:
    """Too narrow for any other start: within a hundredth of the peak."""
    near = {1: PEAK + 0.05}
    assert restarts(1.45).run(200.0, {0: PEAK}) is None  # the other clause alone is searched
    found = restarts(1.45).run(next(ticking) + 60.0, near)
    assert found is not None
    assert float(np.abs(found.x - PEAK.numpy()).max()) < 0.02


def test_what_does_not_exist_takes_the_time_and_no_more(ticking: itertools.count[int]) -> None:
    assert restarts(1.6).run(500.0) is None
    assert 500 <= next(ticking) < 503


def test_an_infinite_or_missing_output_satisfies_nothing(ticking: itertools.count[int]) -> None:
    def broken(x: Tensor) -> Tensor:
        return network(x) / 0 * torch.tensor([0.0, 1.0])

    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return broken(torch.from_numpy(x)).numpy()

    assert (
        RandomRestarts(FalsificationProblem(broken, run, (SIZE,), property_of(1.2)), 4, 0).run(100.0) is None
    )
    assert next(ticking) >= 100
