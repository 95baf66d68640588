"""The state of FAB over several walks: which examples go on, and which points of the ball are kept."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harden.attacks.engine.success_steps import SuccessSteps, recording
from harden.attacks.fab.boundary_walk import BoundaryWalk
from harden.attacks.fab.walk_state import WalkState
from harden.losses import FastCopyLoss, LossFunction, Margin
from harden.threats import Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREAT = Linf("1/10")
X = torch.tensor([0.6, 0.45, 0.3, 0.1]).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
Y = torch.zeros(4, dtype=torch.int64)


def sums(x: Tensor) -> Tensor:
    """Class 1 from a pixel mean of 1/2 on."""
    total = x.flatten(1).sum(1) - 2
    return torch.stack((torch.zeros_like(total), total), 1)


def never(x: Tensor) -> Tensor:
    """Class 0 for every image."""
    return torch.stack((torch.ones(len(x)), 0 * x.flatten(1).sum(1)), 1)


def state(loss: LossFunction | None = None, *, stop_early: bool = True) -> WalkState:
    return WalkState(loss or Margin(sums, Y), X, THREAT, stop_early=stop_early)


def note(walk: BoundaryWalk, place: int, pixel: float) -> None:
    """Let a walk have found an image of one grey for one of its examples."""
    point = torch.full_like(walk.x, pixel)
    here = torch.arange(len(walk.rows)) == place
    walk.found.take_over_(point, THREAT.size((point - walk.x).double()), here)


def test_images_on_which_the_network_errs_are_settled_at_distance_zero() -> None:
    found = state()
    assert found.remaining().tolist() == [1, 2, 3]
    for nearest in (found.nearest, found.inside):
        assert nearest.distance.tolist() == [0.0, math.inf, math.inf, math.inf]
        assert torch.equal(nearest.x_adv, X)


def test_a_point_of_the_ball_settles_its_example_and_leaves_the_walk() -> None:
    found = state()
    walk = found.walk(found.remaining())
    note(walk, 0, 0.54)
    note(walk, 1, 0.56)  # outside of the ball around 0.3
    rest = found.compacted(walk, 1)
    assert rest.rows.tolist() == found.remaining().tolist() == [2, 3]
    assert float(found.inside.distance[1]) == pytest.approx(0.09)
    assert bool(THREAT.contains(found.inside.x_adv, X).all())
    found.end(rest, 5)
    assert found.nearest.distance[2:].tolist() == [pytest.approx(0.26), math.inf]
    assert found.inside.distance[2:].tolist() == [math.inf, math.inf]


def test_without_stopping_early_no_example_leaves() -> None:
    found = state(stop_early=False)
    walk = found.walk(found.remaining())
    note(walk, 0, 0.54)
    assert found.compacted(walk, 1) is walk
    found.end(walk, 5)
    assert float(found.inside.distance[1]) == float(found.nearest.distance[1]) == pytest.approx(0.09)
    assert found.remaining().tolist() == [1, 2, 3]


def test_an_error_that_the_network_denies_is_forgotten() -> None:
    found = state(FastCopyLoss(Margin(sums, Y), Margin(never, Y)))
    walk = found.walk(found.remaining())
    note(walk, 1, 0.54)
    assert found.compacted(walk, 1) is walk
    assert walk.found.distance.tolist() == [math.inf] * 4
    assert found.inside.distance.tolist() == [math.inf] * 4


@pytest.mark.parametrize(("factor", "left"), [(None, [1, 2, 3]), (3.0, [1, 2, 3]), (2.0, [1, 3])])
def test_an_example_is_given_up_where_its_nearest_error_is_far(factor: float | None, left: list[int]) -> None:
    found = state()
    walk = found.walk(found.remaining())
    note(walk, 1, 0.56)  # at 2.6 eps
    found.give_up(walk, factor)
    assert found.remaining().tolist() == left


def test_a_plain_function_has_all_examples_in_every_walk_until_none_remains() -> None:
    found = state(lambda x: x.flatten(1).sum(1) - 2)
    assert found.remaining().tolist() == [0, 1, 2, 3]
    walk = found.walk(found.remaining())
    for place in (1, 2, 3):
        note(walk, place, 0.54)
    found.end(walk, 2)
    assert found.inside.distance.isfinite().tolist() == [True, True, False, False]


def test_steps_are_counted_over_all_walks() -> None:
    record = SuccessSteps(4, torch.device("cpu"))
    with recording(record):
        found = state()
        walk = found.walk(found.remaining())
        found.end(walk, 7)
        later = found.walk(found.remaining())
        note(later, 0, 0.54)
        found.compacted(later, 3)
        found.ended(3)
    assert int(record.first[1]) == 10
    assert record.total == 10
