"""The nearest error of each example: the minimum over all points on which the network errs."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.attacks.engine.nearest_error import Nearest

N = 5
found = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.booleans()), min_size=N, max_size=N)


def grey(pixels: list[float]) -> torch.Tensor:
    return torch.tensor(pixels).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def distances(points: list[tuple[float, bool]]) -> torch.Tensor:
    return torch.tensor([distance for distance, _ in points], dtype=torch.float64)


@given(st.lists(found, max_size=4))
def test_it_is_the_first_of_the_nearest_points_that_are_wrong(rounds: list[list[tuple[float, bool]]]) -> None:
    """Each round has a grey of its own, so that the image names the round that it is of."""
    nearest = Nearest.none(grey([0.0] * N))
    for number, points in enumerate(rounds, 1):
        wrong = torch.tensor([errs for _, errs in points])
        nearest.take_over_(grey([float(number)] * N), distances(points), wrong)
    for row in range(N):
        options = [(math.inf, 0), *((r[row][0], k) for k, r in enumerate(rounds, 1) if r[row][1])]
        assert (float(nearest.distance[row]), int(nearest.x_adv[row, 0, 0, 0])) == min(options)


def test_results_of_some_examples_are_taken_over_by_position() -> None:
    nearest = Nearest.none(grey([0.0] * 3))
    before = torch.tensor([1.0, 3.0, 9.0], dtype=torch.float64)
    nearest.take_over_(grey([1.0] * 3), before, torch.tensor([True, True, False]))
    other = Nearest(grey([7.0, 8.0, 9.0]), torch.tensor([2.0, 2.0, math.inf], dtype=torch.float64))
    nearest.take_over_rows_(torch.tensor([1, 0, 2]), other)
    assert nearest.distance.tolist() == [1.0, 2.0, math.inf]
    assert nearest.x_adv[:, 0, 0, 0].tolist() == [1.0, 7.0, 0.0]
    part = nearest.rows(torch.tensor([2, 1]))
    assert (part.distance.tolist(), part.x_adv[:, 0, 0, 0].tolist()) == ([math.inf, 2.0], [0.0, 7.0])


def test_nothing_found_is_the_image_itself_at_infinite_distance() -> None:
    x = grey([0.25, 0.5])
    none = Nearest.none(x)
    assert torch.equal(none.x_adv, x)
    assert none.x_adv.data_ptr() != x.data_ptr()
    assert (none.distance.tolist(), none.distance.dtype) == ([math.inf] * 2, torch.float64)
