"""Steps with momentum: what a threat offers itself is what the parts of any threat make."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import pytest
import torch
from torch import Tensor

from harden.attacks import APGD
from harden.draws import Draws
from harden.threats import L1, L2, Linf, Number, Threat
from harden.threats.momentum_step import MomentumThreat, momentum_step_


@dataclass(frozen=True)
class Own:
    """A user's threat: what the protocol asks for, and nothing else."""

    ball: Linf | L2

    @property
    def name(self) -> str:
        return self.ball.name

    @property
    def eps(self) -> Fraction:
        return self.ball.eps

    @property
    def bounds(self) -> tuple[float, float]:
        return self.ball.bounds

    def size(self, delta: Tensor) -> Tensor:
        return self.ball.size(delta)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        return self.ball.start(x, draws)

    def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
        self.ball.step_(x_adv, x, grad, step_size)

    def project_(self, x_adv: Tensor, x: Tensor) -> None:
        self.ball.project_(x_adv, x)

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        return self.ball.contains(x_adv, x)

    def scaled(self, factor: Number) -> Self:
        return type(self)(self.ball.scaled(factor))


OWN = Own(Linf("1/10"))
BALLS = [Linf("1/10"), L2("1/2")]
every_ball = pytest.mark.parametrize("ball", BALLS, ids=["linf", "l2"])


def _batch(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, grad, step_size = (torch.rand(s, generator=generator) for s in ((6, 3, 5, 5), (6, 3, 5, 5), (6,)))
    one, two = (x + 0.1 * torch.rand(x.shape, generator=generator) for _ in range(2))
    return one, two, x, grad - 0.5, step_size


def test_l_inf_and_l2_offer_it() -> None:
    offers = {type(threat).__name__: isinstance(threat, MomentumThreat) for threat in (*BALLS, OWN, L1(1))}
    assert offers == {"Linf": True, "L2": True, "Own": False, "L1": False}


@every_ball
@pytest.mark.parametrize("share", [0.75, 1.0])
def test_one_operation_is_what_its_parts_make(share: float, ball: Linf | L2) -> None:
    for seed in range(20):
        one, last, x, grad, step_size = _batch(seed)
        two, before = one.clone(), last.clone()
        momentum_step_(ball, one, last, x, grad, step_size, share)
        momentum_step_(Own(ball), two, before, x, grad, step_size, share)
        assert torch.equal(one, two)
        assert torch.equal(last, before)


@pytest.mark.parametrize("threat", [Linf("1/10"), OWN, L2("1/2"), L1(2)], ids=["linf", "own", "l2", "l1"])
def test_any_threat_is_left_inside_with_its_last_point_noted(threat: Threat) -> None:
    x_adv, before, x, grad, step_size = _batch(0)
    threat.project_(x_adv, x)
    now = x_adv.clone()
    momentum_step_(threat, x_adv, before, x, grad, step_size, 0.75)
    assert torch.equal(before, now)
    assert bool(threat.contains(x_adv, x).all())
    assert not torch.equal(x_adv, now)


@every_ball
def test_auto_pgd_takes_the_same_way_with_a_threat_that_lacks_it(ball: Linf | L2) -> None:
    x, draws = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(1)), Draws(0, torch.arange(5))
    weight = torch.linspace(5, 30, 48).view(3, 4, 4)

    def loss(at: Tensor) -> Tensor:
        return torch.sin(weight * at).flatten(1).sum(1)

    attack = APGD(steps=30)
    assert torch.equal(attack(loss, x, Own(ball), draws), attack(loss, x, ball, draws))
