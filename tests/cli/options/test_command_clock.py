"""The limit of a whole command, by a clock that the test moves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harden.cli.options import command_clock
from harden.cli.options.command_clock import finished, minutes_left, start, within
from harden.errors import InputError
from harden.models.pass_count import check_interruption


class Clock:
    """Minutes since some time."""

    def __init__(self) -> None:
        self.minutes = 100.0

    def monotonic(self) -> float:
        return 60 * self.minutes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(command_clock, "time", SimpleNamespace(monotonic=clock.monotonic))
    start()
    return clock


def test_what_is_left_counts_from_the_commands_begin(clock: Clock) -> None:
    assert minutes_left(None) is None
    assert minutes_left(5) == 5
    clock.minutes += 2
    assert minutes_left(5) == pytest.approx(3)
    clock.minutes += 3
    with pytest.raises(InputError, match="5 minutes, which were over"):
        minutes_left(5)
    start()
    assert minutes_left(5) == 5


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_none_is_refused(clock: Clock, minutes: float) -> None:
    with pytest.raises(InputError, match="expected a positive number"):
        minutes_left(minutes)


def test_loading_is_ended_by_the_first_forward_after_the_limit(clock: Clock) -> None:
    reached = []

    def load() -> None:
        with within(5):
            for _ in range(10):
                check_interruption()
                reached.append(clock.minutes)
                clock.minutes += 1

    with pytest.raises(InputError, match="give it more minutes"):
        load()
    assert reached == [100, 101, 102, 103, 104]
    check_interruption()  # outside of the context nothing ends
    with within(None):
        check_interruption()


def test_unfinished_work_has_no_result(clock: Clock) -> None:
    def work() -> str:
        clock.minutes += 3
        check_interruption()
        return "done"

    assert finished(5, work) == "done"
    assert finished(5, work) is None
    assert finished(None, work) == "done"
