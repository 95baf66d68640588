"""Schedules of the learning rate: their formulas, their limits, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harden.description import describe, restore
from harden.errors import InputError
from harden.training import Cosine, OneCycle, Piecewise
from harden.training.schedules import LEAST, Schedule

SCHEDULES: list[Schedule] = [Cosine(0.2), OneCycle(0.2), Piecewise((0.5, 0.8), 0.1, 0.2)]


def test_cosine_rises_in_a_line_then_falls_as_half_a_cosine() -> None:
    schedule = Cosine(0.1)
    assert schedule(0.05) == pytest.approx(0.5)
    assert schedule(0.1) == pytest.approx(1.0)
    assert schedule(0.55) == pytest.approx(0.5)
    assert schedule(1.0) == pytest.approx(0.0, abs=1e-12)
    assert Cosine(0.0)(0.0) == 1.0
    for progress in (0.2, 0.4, 0.77):
        assert schedule(progress) == pytest.approx(math.cos(math.pi / 2 * (progress - 0.1) / 0.9) ** 2)


def test_one_cycle_is_linear_up_and_down() -> None:
    schedule = OneCycle(0.25)
    assert [schedule(progress) for progress in (0.125, 0.25, 0.625, 1.0)] == pytest.approx(
        [0.5, 1.0, 0.5, 0.0]
    )
    assert OneCycle(0.0)(0.0) == 1.0


def test_piecewise_falls_by_the_factor_at_each_milestone() -> None:
    schedule = Piecewise((0.5, 0.75), 0.1)
    assert [schedule(progress) for progress in (0.0, 0.499, 0.5, 0.75, 1.0)] == pytest.approx(
        [1.0, 1.0, 0.1, 0.01, 0.01]
    )
    assert Piecewise((0.5,), 0.1, 0.25)(0.125) == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda each: type(each).__name__)
def test_each_is_positive_from_the_first_step_and_has_one_peak(schedule: Schedule) -> None:
    factors = [schedule(progress / 1000) for progress in range(1001)]
    assert factors[0] == LEAST
    assert min(factors[:-1]) > 0
    assert max(factors) == 1.0
    assert factors[:201] == sorted(factors[:201])
    assert factors[200:] == sorted(factors[200:], reverse=True)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda each: type(each).__name__)
def test_each_is_a_value(schedule: Schedule) -> None:
    assert restore(describe(schedule)) == schedule


@pytest.mark.parametrize("kind", [Cosine, OneCycle, Piecewise])
@pytest.mark.parametrize("warmup", [-0.1, 1.0, float("nan")])
def test_a_warm_up_outside_the_stage_is_refused(kind: type[Any], warmup: float) -> None:
    with pytest.raises(InputError, match="warm-up"):
        kind(warmup=warmup)


@pytest.mark.parametrize("milestones", [(0.5, 0.5), (0.8, 0.2), (0.0,), (1.0,), (float("nan"),)])
def test_milestones_ascend_inside_the_stage(milestones: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="milestones"):
        Piecewise(milestones)


@pytest.mark.parametrize("factor", [0.0, 1.0, -0.5, float("nan")])
def test_a_factor_that_does_not_lower_the_rate_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="factor"):
        Piecewise(factor=factor)
