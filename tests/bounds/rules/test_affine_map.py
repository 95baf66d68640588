"""Affine maps: intervals over boxes, transposes, and charges of what float32 rounds."""

from __future__ import annotations

import torch

from harden.bounds.rules.affine_map import Affine
from tests.bounds.rules.derived_rules import normal

WEIGHT = normal(5, 3)
BIAS = normal(1, 3, seed=1)


def dense(terms: int = 5, factor: float = 1.0) -> Affine:
    """x @ WEIGHT + BIAS, its transpose left to autograd."""
    return Affine(
        linear=lambda x: x @ WEIGHT,
        spread=lambda x: x @ WEIGHT.abs(),
        offset=BIAS,
        offset_magnitude=BIAS.abs(),
        terms=terms,
        largest_weight=float(WEIGHT.abs().max()),
        sizes=((5,),),
        size=(3,),
        factor=factor,
    )


def test_the_interval_of_a_box_is_attained_and_no_corner_leaves_it() -> None:
    lower, upper = -torch.rand(2, 5, dtype=torch.float64), torch.rand(2, 5, dtype=torch.float64)
    low, high = dense().interval((lower, upper))
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 5)
    values = (lower + corners[:, None] * (upper - lower)) @ WEIGHT + BIAS
    torch.testing.assert_close(values.amin(0), low)
    torch.testing.assert_close(values.amax(0), high)


def test_the_transpose_without_a_rule_of_its_own_is_autograd_s() -> None:
    coefficients = normal(4, 3, seed=2)
    (found,) = dense().transpose(coefficients)
    torch.testing.assert_close(found, coefficients @ WEIGHT.mT)


def test_the_charge_covers_float32_in_two_orders_and_is_small() -> None:
    x = 100 * normal(50, 5, seed=3)
    exact = x @ WEIGHT + BIAS
    charge = dense().charge((x, x))
    single, weight = x.float(), WEIGHT.float()
    forward = BIAS.float()
    for at in range(5):
        forward = forward + single[:, at, None] * weight[at]
    backward = single[:, 4, None] * weight[4]
    for at in (3, 2, 1, 0):
        backward = backward + single[:, at, None] * weight[at]
    for found in (forward, backward + BIAS.float()):
        assert bool(((found.double() - exact).abs() <= charge).all())
    assert bool((charge < 1e-3).all())


def test_an_image_is_charged_for_its_own_values() -> None:
    x = normal(1, 5, seed=4)
    both = torch.cat([x, torch.full_like(x, 3e38)])
    charge = dense().charge((both, both))
    assert torch.equal(charge[:1], dense().charge((x, x)))
    assert not bool(charge[1].isfinite().any())  # its sum may overflow


def test_values_that_are_only_moved_are_charged_for_float64_alone() -> None:
    x = normal(4, 5, seed=5)
    assert float(dense(terms=0).charge((x, x)).max()) < 1e-12
    assert float(dense(terms=1).charge((x, x)).min()) > 1e-9
