"""Gradients that are not finite are counted where an attack gets them."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.attacks import APGD, MIFGSM, PGD, Attack, GradientMeter, metering
from harden.draws import Draws
from harden.losses import LossFunction
from harden.threats import Linf

N, STEPS = 8, 5


def _attack(attack: Attack, loss: LossFunction) -> GradientMeter:
    x = torch.rand(N, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    with metering(GradientMeter()) as meter:
        attack(loss, x, Linf("1/10"), Draws(0, torch.arange(N)))
    return meter


def test_each_example_and_step_is_counted_in_every_attack() -> None:
    def half(x: Tensor) -> Tensor:
        """Finite values; the second half's gradients are NaN, one of them infinite."""
        slope = torch.ones(N, 1, 1, 1)
        slope[N // 2 :], slope[-1] = torch.nan, torch.inf
        return (x.flatten(1).sum(1) - x.detach().flatten(1).sum(1)) * slope.flatten()

    for attack in (PGD(STEPS), APGD(STEPS), MIFGSM(STEPS)):
        meter = _attack(attack, half)
        assert (meter.not_finite, meter.total) == (STEPS * N // 2, STEPS * N)


def test_finite_gradients_count_as_such_and_nothing_is_counted_outside() -> None:
    def loss(x: Tensor) -> Tensor:
        return x.flatten(1).sum(1)

    meter = _attack(PGD(STEPS, restarts=2), loss)
    assert (meter.not_finite, meter.total) == (0, 2 * STEPS * N)
    _attack(PGD(STEPS), loss)
    assert meter.total == 2 * STEPS * N


def test_a_meter_that_saw_nothing_says_none() -> None:
    assert (GradientMeter().not_finite, GradientMeter().total) == (0, 0)
