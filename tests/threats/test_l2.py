"""The L2 ball: projection along the perturbation, and starts uniform in the ball."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.draws import Draws
from harden.threats import L2
from tests.threats.drawn_situations import tensors

pytestmark = pytest.mark.usefixtures("rng_untouched")


@given(data=st.data())
def test_the_l2_projection_shortens_the_perturbation_along_itself(data: st.DataObject) -> None:
    """In a box that does not bind, the nearest point lies on the segment towards x, at distance eps."""
    x = data.draw(tensors(st.floats(-1, 1, width=32)))
    elsewhere = data.draw(tensors(st.floats(-9, 9, width=32), tuple(x.shape)))
    eps = data.draw(st.sampled_from([0.01, 0.5, 3.0]))
    result = elsewhere.clone()
    threat = L2(eps, (-100.0, 100.0))
    threat.project_(result, x)
    delta = elsewhere.double() - x.double()
    shrink = (eps / threat.size(delta).clamp_min(1e-300)).clamp_max(1).view(-1, 1, 1, 1)
    torch.testing.assert_close(result.double(), x.double() + delta * shrink, rtol=1e-6, atol=2e-6)


def test_l2_starts_are_uniform_in_the_ball() -> None:
    """P(|delta| <= r) = (r / eps)^d; a radius drawn uniformly would crowd the centre."""
    n, d = 4_000, 12
    x = torch.zeros(n, 3, 2, 2)
    threat = L2(2.0, (-50.0, 50.0))
    delta = threat.start(x, Draws(0, torch.arange(n))) - x
    ranks = (threat.size(delta) / 2) ** d
    steps = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    assert float((ranks.sort().values - steps).abs().max()) < 1.95 / math.sqrt(
        n
    )  # Kolmogorov and Smirnov at 0.1 %
    direction = delta.flatten(1).double() / threat.size(delta).unsqueeze(1)
    assert bool((direction.mean(0).abs() < 4 / math.sqrt(n * d)).all())
    assert float((direction.square().mean(0) * d - 1).abs().max()) < 0.15
    # The radius must not come from the numbers that the direction came from.
    correlation = torch.corrcoef(torch.cat([ranks.unsqueeze(1), direction, direction.square()], dim=1).T)[
        0, 1:
    ]
    assert float(correlation.abs().max()) < 4.5 / math.sqrt(n)


def test_the_projection_keeps_a_relative_margin_of_one_in_a_million() -> None:
    """At x = 0, where the result's own rounding is relative to the perturbation."""
    x = torch.zeros(4, 3, 8, 8)
    x_adv = 0.4 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    threat = L2("1/2", (-1.0, 1.0))
    threat.project_(x_adv, x)
    size = threat.size(x_adv - x)
    assert bool((size <= 0.5).all())
    assert bool((size >= 0.5 * (1 - 2.0**-20)).all())
