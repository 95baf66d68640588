"""The protocol of threats: every ball has its members, and each does what the protocol promises of it."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

import pytest
import torch
from torch import Tensor

from harden.draws import Draws
from harden.threats import L1, L2, ChannelLinf, Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")

N = 6
# Typed: the type checker compares every signature with the protocol's.
THREATS: tuple[Threat, ...] = (
    Linf("1/10"),
    L2("1/2"),
    L1("3/2"),
    ChannelLinf(("1/10", 0)),
    Linf("1/10", bounds=(-1.0, 1.0)),
    Linf(0),
)
MEMBERS = {name for name in vars(Threat) if not name.startswith("_")}
each_threat = pytest.mark.parametrize("threat", THREATS, ids=repr)


def images(threat: Threat) -> Tensor:
    low, high = threat.bounds
    noise = torch.rand(N, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    # Some pixels on the faces of the box.
    return low + (high - low) * (1.2 * noise - 0.1).clamp(0, 1)


def draws(seed: int = 1) -> Draws:
    return Draws(seed, torch.arange(N))


def test_the_protocol_is_what_attacks_rely_on() -> None:
    assert issubclass(Threat, Protocol)
    assert {
        *("name", "eps", "bounds", "size", "start", "step_", "project_", "contains", "scaled"),
    } == MEMBERS


@each_threat
def test_every_ball_has_all_members(threat: Threat) -> None:
    assert [name for name in MEMBERS if not hasattr(threat, name)] == []
    assert isinstance(threat.name, str)
    assert isinstance(threat.eps, Fraction)
    low, high = threat.bounds
    assert low < high


@each_threat
def test_a_norm_is_a_float64_number_for_each_perturbation(threat: Threat) -> None:
    size = threat.size(torch.zeros(N, 2, 4, 4))
    assert (size.shape, size.dtype) == ((N,), torch.float64)
    assert size.tolist() == [0.0] * N


@each_threat
def test_a_start_is_inside_and_depends_on_the_draws_alone(threat: Threat) -> None:
    x = images(threat)
    before = x.clone()
    found = threat.start(x, draws())
    assert found.shape == x.shape
    assert bool(threat.contains(found, x).all())
    assert torch.equal(found, threat.start(x, draws()))
    assert torch.equal(x, before)
    if threat.eps:
        assert not torch.equal(found, threat.start(x, draws(2)))


@each_threat
def test_a_step_goes_up_and_stays_inside(threat: Threat) -> None:
    x = images(threat)
    x_adv, gradient = x.clone(), draws(3).normal((2, 4, 4))
    threat.step_(x_adv, x, gradient, torch.full((N,), float(threat.eps) / 2))
    assert bool(threat.contains(x_adv, x).all())
    rise = ((x_adv - x).double() * gradient).flatten(1).sum(1)
    assert bool((rise > 0).all() if threat.eps else (rise == 0).all())


@each_threat
def test_a_projection_is_inside_and_idempotent(threat: Threat) -> None:
    x = images(threat)
    x_adv = x + 3 * draws(4).normal((2, 4, 4))
    assert not bool(threat.contains(x_adv, x).any())
    threat.project_(x_adv, x)
    assert bool(threat.contains(x_adv, x).all())
    once = x_adv.clone()
    threat.project_(x_adv, x)
    assert torch.equal(x_adv, once)


@each_threat
def test_membership_is_a_bool_for_each_image(threat: Threat) -> None:
    x = images(threat)
    moved = x.clone()
    moved[0, 0, 0, 0] = threat.bounds[1] + 1
    inside = threat.contains(moved, x)
    assert (inside.shape, inside.dtype) == ((N,), torch.bool)
    assert inside.tolist() == [False] + [True] * (N - 1)


@each_threat
def test_scaling_multiplies_eps_exactly_and_keeps_all_else(threat: Threat) -> None:
    for factor in (0, Fraction(1, 3), Fraction(1, 2), 1):
        found = threat.scaled(factor)
        assert type(found) is type(threat)
        assert found.eps == threat.eps * factor
        assert found.bounds == threat.bounds
        assert found.name == threat.name
