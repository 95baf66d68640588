"""The L1 ball: projection onto ball and box together, sparse steps, starts uniform in the ball."""

from __future__ import annotations

import math

import pytest
import torch

from harden.draws import Draws
from harden.threats import L1

pytestmark = pytest.mark.usefixtures("rng_untouched")


def test_l1_starts_are_uniform_in_the_ball() -> None:
    """P(|delta| <= r) = (r / eps)^d; signs are fair; the shares are uniform in the simplex."""
    n, d = 4_000, 12
    x = torch.zeros(n, 3, 2, 2)
    threat = L1(2.0, (-50.0, 50.0))
    delta = threat.start(x, Draws(0, torch.arange(n))) - x
    ranks = (threat.size(delta) / 2) ** d
    steps = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    assert float((ranks.sort().values - steps).abs().max()) < 1.95 / math.sqrt(n)
    flat = delta.flatten(1).double()
    assert bool(((flat > 0).double().mean(0) - 0.5).abs().lt(4 * 0.5 / math.sqrt(n)).all())
    # One share of the simplex is Beta(1, d - 1): P(share <= s) = 1 - (1 - s)^(d - 1).
    shares = flat.abs() / threat.size(delta).unsqueeze(1)
    for entry in range(d):
        levels = 1 - (1 - shares[:, entry].sort().values) ** (d - 1)
        assert float((levels - steps).abs().max()) < 2.2 / math.sqrt(n)
    every = torch.cat([ranks.unsqueeze(1), flat.sign(), shares[:, 1:]], dim=1)
    assert float(torch.corrcoef(every.T)[0, 1:].abs().max()) < 4.5 / math.sqrt(n)


def test_the_l1_projection_is_onto_ball_and_box_together() -> None:
    """The ball first and the box then would stop at a length of 1/2."""
    x = torch.tensor([0.5, 0.0, 0.0, 1.0]).view(1, 1, 2, 2)
    x_adv = torch.tensor([3.0, 1.0, 0.0, 1.0]).view(1, 1, 2, 2)
    threat = L1(1)
    threat.project_(x_adv, x)
    torch.testing.assert_close(x_adv.flatten(), torch.tensor([1.0, 0.5, 0.0, 1.0]), rtol=0, atol=2e-6)
    assert threat.contains(x_adv, x).tolist() == [True]


def test_an_l1_step_moves_a_hundredth_of_the_entries_that_can_move() -> None:
    x = torch.full((1, 3, 10, 10), 0.5)
    x[0, 0] = 1.0
    grad = torch.linspace(3.0, 1.0, 300).view(1, 3, 10, 10)
    x_adv = x.clone()
    L1(3).step_(x_adv, x, grad, torch.tensor([0.75]))
    moved = (x_adv - x).flatten()
    assert moved.nonzero().flatten().tolist() == [100, 101, 102]
    assert moved[100:103].tolist() == [0.25, 0.25, 0.25]
