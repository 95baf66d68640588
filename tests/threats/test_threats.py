"""Threats: balls that are exact in rational numbers, and errors that say what to write instead."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.draws import Draws
from harden.errors import InputError
from harden.threats import L1, L2, Linf
from tests.threats.drawn_situations import BOXES, EPS, situations

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2 | L1
Kind = type[Linf] | type[L2] | type[L1]

KINDS = pytest.mark.parametrize("kind", [Linf, L2, L1])


def _is_inside(threat: Ball, x_adv: Tensor, x: Tensor) -> list[bool]:
    """The definition of the set, in rational numbers, with no tolerance."""
    verdicts = []
    low, high = (Fraction(bound) for bound in threat.bounds)
    for one, clean in zip(x_adv.flatten(1).tolist(), x.flatten(1).tolist(), strict=True):
        if not all(math.isfinite(value) for value in one):
            verdicts.append(False)
            continue
        deltas = [Fraction(a) - Fraction(b) for a, b in zip(one, clean, strict=True)]
        if isinstance(threat, Linf):
            near = max(map(abs, deltas)) <= threat.eps
        elif isinstance(threat, L1):
            near = sum(map(abs, deltas)) <= threat.eps
        else:
            near = sum(delta**2 for delta in deltas) <= threat.eps**2
        verdicts.append(near and all(low <= Fraction(value) <= high for value in one))
    return verdicts


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


# The ball


@KINDS
@given(data=st.data(), step_size=st.sampled_from([0.0, 1e-3, 0.1, 10.0, math.inf]))
def test_every_result_lies_in_ball_and_box_as_rational_numbers(
    kind: Kind, data: st.DataObject, step_size: float
) -> None:
    case = data.draw(situations(kind))
    draws = Draws(data.draw(st.integers(0, 99)), torch.arange(len(case.x)))
    projected, stepped = case.elsewhere.clone(), case.x.clone()
    case.threat.project_(projected, case.x)
    for _ in range(2):
        case.threat.step_(stepped, case.x, case.grad, torch.tensor([step_size]))
    for result in (case.threat.start(case.x, draws), projected, stepped):
        assert result.dtype == torch.float32
        assert all(_is_inside(case.threat, result, case.x))
        assert bool(case.threat.contains(result, case.x).all())


@KINDS
@given(data=st.data())
def test_projecting_twice_changes_no_bit(kind: Kind, data: st.DataObject) -> None:
    case = data.draw(situations(kind))
    once = case.elsewhere.clone()
    case.threat.project_(once, case.x)
    twice = once.clone()
    case.threat.project_(twice, case.x)
    assert _same_bits(once, twice)


@KINDS
@given(data=st.data())
def test_a_point_well_inside_is_not_moved(kind: Kind, data: st.DataObject) -> None:
    case = data.draw(situations(kind))
    closer = kind(case.threat.eps * Fraction(99, 100), case.threat.bounds)
    inside = case.elsewhere.clone()
    closer.project_(inside, case.x)
    again = inside.clone()
    case.threat.project_(again, case.x)
    assert _same_bits(inside, again)


@KINDS
def test_a_step_climbs_along_the_steepest_direction(kind: Kind) -> None:
    x = torch.full((2, 1, 1, 2), 0.5)
    grad = torch.tensor([[3.0, -4.0], [0.0, 1e-20]]).view(2, 1, 1, 2)
    x_adv = x.clone()
    kind("1/4").step_(x_adv, x, grad, torch.tensor([0.125]))
    steepest = {Linf: [0.125, -0.125], L2: [0.075, -0.1], L1: [0.0, -0.125]}
    torch.testing.assert_close((x_adv - x).view(2, 2), torch.tensor([steepest[kind], [0.0, 0.125]]))


@KINDS
def test_projection_and_membership_leave_x_alone(kind: Kind, images: Tensor) -> None:
    x, x_adv = images.clone(), images.flip(0).clone()
    threat = kind("8/255")
    threat.start(x, Draws(0, torch.arange(16)))
    threat.project_(x_adv, x)
    threat.contains(x_adv, x)
    assert _same_bits(x, images)


# Membership


@KINDS
@given(data=st.data())
def test_contains_agrees_with_rational_numbers(kind: Kind, data: st.DataObject) -> None:
    case = data.draw(situations(kind))
    assert case.threat.contains(case.elsewhere, case.x).tolist() == _is_inside(
        case.threat, case.elsewhere, case.x
    )
    # The border is where it matters: project, then move one coordinate by a few units in the last place.
    near = case.elsewhere.clone()
    case.threat.project_(near, case.x)
    for _ in range(data.draw(st.integers(1, 4))):
        flat = near.view(-1)
        place = data.draw(st.integers(0, flat.numel() - 1))
        flat[place] = torch.nextafter(flat[place], torch.tensor(data.draw(st.sampled_from([-9.0, 9.0]))))
        assert case.threat.contains(near, case.x).tolist() == _is_inside(case.threat, near, case.x)


@KINDS
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_pixel_that_is_no_number_lies_outside_and_projects_inside(
    kind: Kind, value: float, images: Tensor
) -> None:
    threat, x_adv = kind("1/2"), images.clone()
    x_adv[3, 1, 2, 2] = value
    assert threat.contains(x_adv, images).tolist() == [number != 3 for number in range(16)]
    threat.project_(x_adv, images)
    assert all(_is_inside(threat, x_adv, images))


@KINDS
def test_the_box_counts_too(kind: Kind) -> None:
    x, x_adv = torch.ones(2, 1, 1, 1), torch.tensor([1.0, math.nextafter(1, 2) + 1e-6]).view(2, 1, 1, 1)
    assert kind(1).contains(x_adv, x).tolist() == [True, False]


@KINDS
def test_size_is_the_norm_in_float64(kind: Kind) -> None:
    delta = torch.tensor([[3.0, -4.0], [0.0, 0.0], [1e-30, 0.0]]).view(3, 1, 1, 2)
    size = kind(1).size(delta)
    assert size.dtype == torch.float64
    assert size.tolist() == pytest.approx([{Linf: 4.0, L2: 5.0, L1: 7.0}[kind], 0.0, 1e-30])


# Random starts


@KINDS
@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_random_start_does_not_depend_on_the_batch(kind: Kind, size: int) -> None:
    x, draws = torch.linspace(0, 1, 64 * 12).view(64, 3, 2, 2), Draws(9, torch.arange(64) + 2**40)
    whole = kind("8/255").start(x, draws)
    parts = [kind("8/255").start(x[i], draws.take(i)) for i in torch.split(torch.arange(64), size)]
    assert _same_bits(torch.cat(parts), whole)


@KINDS
def test_the_ids_and_the_seed_choose_the_start(kind: Kind) -> None:
    x = torch.full((4, 3, 2, 2), 0.5)
    starts = [kind("8/255").start(x, Draws(seed, torch.arange(4))) for seed in (0, 1)]
    assert len({tuple(row.flatten().tolist()) for start in starts for row in start}) == 8


@KINDS
def test_with_no_budget_nothing_moves(kind: Kind, images: Tensor) -> None:
    threat = kind(0)
    assert torch.equal(threat.start(images, Draws(0, torch.arange(16))), images)
    x_adv = images.clone()
    threat.step_(x_adv, images, torch.ones_like(images), torch.tensor([0.1]))
    assert torch.equal(x_adv, images)
    assert bool(threat.contains(images, images).all())


@KINDS
def test_starts_keep_channels_last_and_an_empty_batch(kind: Kind, images: Tensor) -> None:
    draws = Draws(0, torch.arange(16))
    last = images.contiguous(memory_format=torch.channels_last)
    start = kind("8/255").start(last, draws)
    assert start.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(start, kind("8/255").start(images, draws))
    nothing = images[:0]
    assert kind("8/255").start(nothing, draws.take(torch.arange(0))).shape == (0, 3, 8, 8)
    assert kind("8/255").contains(nothing, nothing).shape == (0,)


# Values


@given(EPS, BOXES)
def test_a_repr_is_the_code_that_makes_the_value(eps: Fraction, bounds: tuple[float, float]) -> None:
    for threat in (Linf(eps, bounds), L2(eps, bounds), L1(eps, bounds)):
        assert eval(repr(threat), {"Linf": Linf, "L2": L2, "L1": L1}) == threat
        assert copy.deepcopy(threat) == threat
        assert pickle.loads(pickle.dumps(threat)) == threat


def test_threats_differ_by_norm_eps_and_box() -> None:
    values = {
        Linf("1/4"),
        L2("1/4"),
        L1("1/4"),
        Linf("1/3"),
        Linf("1/4", (0.0, 2.0)),
        Linf("2/8"),
        Linf(0.25),
    }
    assert len(values) == 5


@KINDS
def test_threats_are_frozen(kind: Kind) -> None:
    threat = kind("8/255")
    with pytest.raises(dataclasses.FrozenInstanceError):
        threat.eps = Fraction(1)  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        threat.note = "x"  # type: ignore[union-attr]
    assert threat == kind("8/255")


@KINDS
def test_scaling_is_exact_and_keeps_the_box(kind: Kind) -> None:
    threat = kind("8/255", (-1.0, 1.0))
    assert threat.scaled("3/2") == kind("12/255", (-1.0, 1.0))
    assert threat.scaled(0.1) == kind("8/2550", (-1.0, 1.0))
    assert threat.scaled(0).eps == 0
    assert threat.scaled(3).scaled(Fraction(1, 3)) == threat
    with pytest.raises(InputError):
        threat.scaled(-1)
