"""Speed by a clock of our own: three answers, the order of the runs, how often the interval is right."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from harden.errors import InputError
from harden.regression.gate_answers import GateAnswer
from harden.regression.timing.paired_timing import (
    SpeedFinding,
    Timings,
    alternated,
    check_rounds,
    rank,
    repeats_for,
)
from harden.regression.verdict import Rule, Verdict, judge


class Machine:
    """A clock that moves when something works on it, and a log of what did."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, ""

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: Callable[[], float]) -> Callable[[], None]:
        def run() -> None:
            self.log += name
            self.now += seconds()

        return run


def finding(base: Callable[[], float], candidate: Callable[[], float], rounds: int = 15) -> SpeedFinding:
    machine = Machine()
    works = machine.work("a", base), machine.work("b", candidate)
    return SpeedFinding("attack", 32, alternated(*works, rounds, machine), 0.125, 0.05)


def noisy(seconds: float, sigma: float, seed: int) -> Callable[[], float]:
    generator = np.random.default_rng(seed)
    return lambda: float(seconds * np.exp(sigma * generator.standard_normal()))


def test_the_runs_alternate_and_the_untimed_ones_come_first() -> None:
    machine, told = Machine(), list[int]()
    works = machine.work("a", lambda: 1.0), machine.work("b", lambda: 2.0)
    timings = alternated(*works, 3, machine, repeats=2, on_round=told.append)
    assert machine.log == "ab" + 3 * "aabbbbaa"
    assert timings == Timings((4.0,) * 3, (8.0,) * 3, 2)
    assert told == [1, 2, 3]


def test_a_machine_that_gets_slower_steadily_favours_none() -> None:
    machine = Machine()
    count = iter(range(1000))
    drifting = [machine.work(name, lambda: 1.0 + 0.1 * next(count)) for name in "ab"]
    assert alternated(drifting[0], drifting[1], 9, machine).ratios == pytest.approx((1.0,) * 9)


def test_three_answers() -> None:
    assert finding(lambda: 1.0, lambda: 1.0).state is GateAnswer.PASS
    assert finding(lambda: 1.0, lambda: 0.5).state is GateAnswer.PASS
    slow = finding(lambda: 1.0, lambda: 1.5)
    assert (slow.state, slow.interval) == (GateAnswer.FAIL, (1.5, 1.5))
    assert slow.timings.ratio == pytest.approx(1.5)
    assert finding(noisy(1.0, 0.02, 0), noisy(1.5, 0.02, 1)).state is GateAnswer.FAIL
    assert finding(noisy(1.0, 0.02, 0), noisy(1.0, 0.02, 1)).state is GateAnswer.PASS
    assert finding(noisy(1.0, 0.5, 0), noisy(1.1, 0.5, 1)).state is GateAnswer.INCONCLUSIVE
    # The margin itself is neither excluded nor exceeded.
    assert finding(lambda: 1.0, lambda: 1.125).state is GateAnswer.INCONCLUSIVE


@pytest.mark.parametrize("rounds", [6, 9, 15, 30])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "skewed"])
def test_the_interval_holds_the_truth_as_often_as_it_says(rounds: int, kind: str) -> None:
    """Log-ratios around log 1.07, 4,000 repetitions: in at least 95 %, past either end in 2.5 % at most."""
    generator = np.random.default_rng([rounds, len(kind)])
    shape, truth, times = (4000, rounds), math.log(1.07), np.empty(0)
    if kind == "normal":
        times = 0.05 * generator.standard_normal(shape)
    elif kind == "heavy tails":
        times = 0.05 * generator.standard_cauchy(shape).clip(-1000, 1000)
    else:
        times = 0.05 * (generator.standard_exponential(shape) - math.log(2))
    low, high = zip(
        *(Timings((1.0,) * rounds, tuple(np.exp(truth + row))).interval(0.05) for row in times), strict=True
    )
    below, above = (float(np.mean(side)) for side in (np.log(high) < truth, np.log(low) > truth))
    assert below + above <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 4000)
    for side in (below, above):
        assert side <= 0.025 + 2 * math.sqrt(0.025 * 0.975 / 4000)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5])
def test_the_rank_is_the_largest_that_keeps_the_level(alpha: float) -> None:
    for rounds in range(1, 60):
        k = rank(rounds, alpha)
        assert 2 * stats.binom.cdf(k - 1, rounds, 0.5) <= alpha
        assert 2 * stats.binom.cdf(k, rounds, 0.5) > alpha
    assert rank(15, 0.05) == 4  # the fourth smallest and the fourth largest of 15: 96.5 %


def test_too_few_rounds_are_refused_with_the_number_that_is_enough() -> None:
    for alpha in (0.5, 0.05, 0.01):
        with pytest.raises(InputError, match="expected at least") as refused:
            check_rounds(1, alpha)
        least = int(refused.value.instead.split()[-1])
        check_rounds(least, alpha)
        with pytest.raises(InputError):
            check_rounds(least - 1, alpha)
    with pytest.raises(InputError, match="0 rounds"):
        check_rounds(0, 0.05)


def test_short_works_are_repeated_and_none_for_ever() -> None:
    machine = Machine()
    works = machine.work("a", lambda: 0.001), machine.work("b", lambda: 0.004)
    assert repeats_for(works, machine, 0.04) == 8
    assert repeats_for(works, machine, 0.0001) == 1
    still = Machine()
    assert repeats_for([still.work("a", lambda: 0.0)], still, 0.04) <= 1 << 16


@pytest.mark.parametrize(
    ("base", "candidate"),
    [((), ()), ((1.0,), (1.0, 2.0)), ((0.0,), (1.0,)), ((1.0,), (math.inf,)), ((math.nan,), (1.0,))],
)
def test_times_that_can_not_be(base: tuple[float, ...], candidate: tuple[float, ...]) -> None:
    with pytest.raises(InputError):
        Timings(base, candidate)


def test_the_worst_of_accuracy_and_speed_decides() -> None:
    fast, slow = finding(lambda: 1.0, lambda: 1.0), finding(lambda: 1.0, lambda: 2.0)
    verdict = Verdict(Rule(), (), (fast, slow))
    assert (verdict.state, verdict.exit_code()) == (GateAnswer.FAIL, 1)
    unsure = finding(lambda: 1.0, lambda: 1.125)
    verdict = Verdict(Rule(), (), (fast, unsure))
    assert (verdict.exit_code(), verdict.exit_code(inconclusive_fails=True)) == (0, 3)
    with pytest.raises(InputError, match="no finding"):
        _ = Verdict(Rule(), ()).state
    with pytest.raises(InputError):
        judge([], Rule())
