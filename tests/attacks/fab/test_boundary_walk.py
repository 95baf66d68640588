"""Steps of a walk along the decision boundary, on a network whose boundary is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harden.attacks.engine.nearest_error import Nearest
from harden.attacks.fab.boundary_walk import CUTS, BoundaryWalk, SignedLoss, WalkSettings
from harden.errors import InputError
from harden.losses import CrossEntropy, FastCopyLoss, Margin
from harden.threats import L1, L2, Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2 | L1
BALLS = pytest.mark.parametrize("threat", [Linf("1/10"), L2("1/2"), L1(2)], ids=repr)
SETTINGS = WalkSettings(alpha_max=0.1, eta=1.05, beta=0.9)
ENTRIES = 12


def sums(x: Tensor) -> Tensor:
    """Class 1 from a pixel mean of 1/2 on: z = (0, sum(x) - 6) on images (3, 2, 2)."""
    total = x.flatten(1).sum(1) - ENTRIES / 2
    return torch.stack((torch.zeros_like(total), total), 1)


def never_wrong(x: Tensor) -> Tensor:
    """Class 0 for every image."""
    return torch.tensor([[1.0, 0.0]]).expand(len(x), 2)


def grey(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()


def walk_of(loss: Margin | FastCopyLoss, x: Tensor, threat: Ball, *, trusting: bool = False) -> BoundaryWalk:
    rows = torch.arange(len(x))
    return BoundaryWalk(rows, x, x.clone(), SignedLoss.of(loss), threat, Nearest.none(x), trusting)


def margin(x: Tensor) -> Margin:
    return Margin(sums, torch.zeros(len(x), dtype=torch.int64))


def closest(x: Tensor, threat: Ball) -> Tensor:
    """The distance of dark images from the plane sum(x) = 6."""
    gap = ENTRIES / 2 - x.double().flatten(1).sum(1)
    return gap / {"linf": ENTRIES, "l2": math.sqrt(ENTRIES), "l1": 1}[threat.name]


@BALLS
def test_a_step_from_the_image_goes_eta_times_the_way_to_the_boundary(threat: Ball) -> None:
    x = grey(0.45, 0.47)
    walk = walk_of(margin(x), x, threat)
    walk.step_(SETTINGS)
    torch.testing.assert_close(walk.found.distance, 1.05 * closest(x, threat), rtol=1e-4, atol=0)
    # The network errs there, so the walk goes back to beta of the way.
    torch.testing.assert_close(walk.at, x + 0.9 * (walk.found.x_adv - x))


@BALLS
def test_bisection_ends_within_the_cuts_resolution_above_the_boundary(threat: Ball) -> None:
    x = grey(0.4, 0.3)
    walk = walk_of(margin(x), x, threat)
    far = grey(0.9, 0.8)
    walk.found.take_over_(far, threat.size((far - x).double()), torch.ones(2, dtype=torch.bool))
    before = walk.found.distance.clone()
    walk.refine_(SETTINGS)
    boundary = before * torch.tensor([0.1 / 0.5, 0.2 / 0.5], dtype=torch.float64)
    assert bool(SignedLoss.of(margin(x)).wrong(walk.found.x_adv).all())
    assert bool((walk.found.distance >= boundary * (1 - 1e-6)).all())
    # One cut at beta, then the rest of the interval is halved.
    assert bool((walk.found.distance - boundary <= 0.9 * 2.0 ** (1 - CUTS) * before + 1e-6).all())


@BALLS
def test_a_walk_starts_at_the_given_distance(threat: Ball) -> None:
    x = grey(0.4, 0.5)
    walk, distance = walk_of(margin(x), x, threat), torch.tensor([0.05, 0.1], dtype=torch.float64)
    walk.start_(torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), distance)
    torch.testing.assert_close(threat.size((walk.at - x).double()), distance, rtol=1e-4, atol=1e-6)


def test_an_error_of_the_fast_copy_counts_once_the_network_confirms_it_or_where_that_comes_later() -> None:
    x = grey(0.45)
    loss = FastCopyLoss(margin(x), Margin(never_wrong, torch.zeros(1, dtype=torch.int64)))
    for trusting in (False, True):
        walk = walk_of(loss, x, Linf("1/10"), trusting=trusting)
        walk.step_(SETTINGS)
        assert bool(walk.found.distance.isfinite().all()) is trusting


def test_the_sign_of_a_plain_function_decides_and_a_loss_without_a_boundary_is_refused() -> None:
    x = grey(0.45, 0.55)
    signed = SignedLoss.of(lambda x: x.flatten(1).sum(1) - ENTRIES / 2)
    assert signed.wrong(x).tolist() == signed.wrong_at_first(x).tolist() == [False, True]
    y = torch.zeros(2, dtype=torch.int64)
    assert SignedLoss.of(Margin(sums, y)).wrong_at_first(x).tolist() == [False, True]
    with pytest.raises(InputError, match="CrossEntropy, a loss that is positive where the network does not"):
        SignedLoss.of(CrossEntropy(sums, y)).wrong_at_first(x)


def test_a_part_of_a_walk_is_of_the_examples_at_its_positions() -> None:
    x = grey(0.41, 0.42, 0.43)
    loss = Margin(sums, torch.tensor([0, 1, 0]))
    part = walk_of(loss, x, L2(1), trusting=True).take(torch.tensor([2, 1]))
    assert (part.rows.tolist(), part.trusting) == ([2, 1], True)
    assert torch.equal(part.x, x[[2, 1]])
    assert part.loss.wrong(part.x).tolist() == [False, True]
