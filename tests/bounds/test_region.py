"""Regions of inputs: they hold every float32 point of the ball, and their least values are lower bounds."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from harden.bounds import Region
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.errors import InputError
from harden.threats import L1, L2, ChannelLinf, Linf, Threat

SIZE = (2, 3, 3)
THREATS: tuple[Threat, ...] = (Linf("1/10"), L2("1/3"), L1("1/2"))


def images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, *SIZE, generator=torch.Generator().manual_seed(0))


def points(x: torch.Tensor, threat: Threat, n: int = 400) -> torch.Tensor:
    """Random points of the ball of one image, many at its edge."""
    many = x.expand(n, *x.shape[1:]).contiguous()
    noise = torch.rand(many.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    noise[::2] = noise[::2].sign()
    found = many + float(threat.eps) * noise
    threat.project_(found, many)
    return found


def test_a_linf_ball_s_ends_are_those_of_exact_fractions() -> None:
    """No float32 number within eps of an image, in rational numbers, lies outside."""
    x, threat = images(), Linf("1/10")
    region = Region.around(x, threat)
    eps = Fraction(1, 10)
    for value, lower, upper in zip(
        x.flatten().tolist(), region.lower.flatten().tolist(), region.upper.flatten().tolist(), strict=True
    ):
        assert Fraction(lower) <= max(Fraction(value) - eps, Fraction(0))
        assert Fraction(upper) >= min(Fraction(value) + eps, Fraction(1))
        assert lower >= value - 0.1 - 1e-12
        assert upper <= value + 0.1 + 1e-12
    assert (region.lower.min() >= 0).item()
    assert (region.upper.max() <= 1).item()


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_the_least_value_is_below_that_of_every_point(threat: Threat) -> None:
    x = images()
    region = Region.around(x, threat)
    rows = torch.randn(12, *SIZE, generator=torch.Generator().manual_seed(2)).double()
    image = torch.arange(12) % 4
    least = region.least(DenseCoefficients(rows), image)
    lowest = region.lowest(rows, image)
    assert lowest.dtype == torch.float32
    assert bool(((lowest >= region.lower[image]) & (lowest <= region.upper[image])).all())
    reached = (rows * lowest).flatten(1).sum(1)
    assert bool((least <= reached + 1e-5).all())  # float32 points lie in the ball up to their rounding
    assert bool((reached <= (rows * x[image]).flatten(1).sum(1)).all())
    for at in range(4):
        seen = points(x[at : at + 1], threat).double().flatten(1) @ rows[image == at].flatten(1).mT
        assert bool((least[image == at] <= seen.amin(0)).all())
    if isinstance(threat, Linf):  # of a box it is attained
        torch.testing.assert_close(least, reached, rtol=1e-6, atol=1e-6)


def test_the_least_value_of_balls_within_the_box_is_the_dual_norm_s() -> None:
    """c . x - eps ||c||_2, or ||c||_inf of an L1 ball, where no face of the box is reached."""
    x = torch.full((1, *SIZE), 0.5)
    rows = torch.randn(5, *SIZE, generator=torch.Generator().manual_seed(3)).double()
    for threat, order in ((L2("1/4"), 2.0), (L1("1/4"), math.inf)):
        least = Region.around(x, threat).least(DenseCoefficients(rows), torch.zeros(5, dtype=torch.int64))
        flat = rows.flatten(1)
        expected = 0.5 * flat.sum(1) - 0.25 * torch.linalg.vector_norm(flat, order, dim=1)
        torch.testing.assert_close(least, expected, rtol=1e-12, atol=1e-12)
        assert bool((least <= expected).all())


def test_some_regions_are_those_of_their_images() -> None:
    x = images()
    for threat in THREATS:
        taken, own = Region.around(x, threat).take(torch.tensor([2, 0])), Region.around(x[[2, 0]], threat)
        assert len(taken) == 2
        assert torch.equal(taken.lower, own.lower)
        assert torch.equal(taken.upper, own.upper)
        assert (taken.eps, taken.dual) == (own.eps, own.dual)
        assert (taken.centre is None) == isinstance(threat, Linf)


def test_a_radius_is_rounded_up() -> None:
    eps = Fraction(1, 10) + Fraction(1, 10**30)
    region = Region.around(images(), L2(eps))
    assert Fraction(region.eps) >= eps
    assert region.eps == np.nextafter(0.1, 1) or Fraction(0.1) >= eps


def test_other_threats_are_refused() -> None:
    with pytest.raises(InputError, match="expected Linf, L2 or L1") as caught:
        Region.around(torch.zeros(1, 2, 3, 3), ChannelLinf(["0.1", "0.2"]))
    assert "the largest of the channels' eps" in caught.value.instead
