"""The checkpoints of Auto-PGD's schedule: those of the paper, shorter and shorter."""

from __future__ import annotations

from harden.attacks.apgd_schedule import periods


def test_the_checkpoints_are_those_of_the_paper() -> None:
    # p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 for 100 steps.
    assert periods(100) == (22, 19, 16, 13, 10, 7, 6, 6)
    assert periods(50)[0] == 11
    for steps in range(1, 300):
        lengths = periods(steps)
        assert sum(lengths) <= steps
        assert all(length >= 1 for length in lengths)
        assert list(lengths) == sorted(lengths, reverse=True)
