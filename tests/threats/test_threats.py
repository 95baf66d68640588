"""Threats: balls that are exact in rational numbers, and errors that say what to write instead."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import statistics
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import Tensor

from harden import kernels
from harden.draws import Draws
from harden.errors import InputError
from harden.threats import L1, L2, Linf, Number, from_name

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2 | L1
Kind = type[Linf] | type[L2] | type[L1]

EPS = st.one_of(
    st.sampled_from(
        [
            Fraction(t)
            for t in ("0", "8/255", "1/10", "1/3", "1/2", "1/4", "1", "1/1000000007", "1e-30", "1e-46")
        ]
    ),
    st.fractions(0, 1),
    st.floats(0, 1, width=32).map(Fraction),
)
BOXES = st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.1, 1.3)])
KINDS = pytest.mark.parametrize("kind", [Linf, L2, L1])


@st.composite
def tensors(
    draw: st.DrawFn, elements: st.SearchStrategy[float], shape: tuple[int, ...] | None = None
) -> Tensor:
    shape = draw(st.tuples(*[st.integers(1, 3)] * 4)) if shape is None else shape
    return torch.from_numpy(draw(npst.arrays(np.float32, shape, elements=elements, fill=st.nothing())))


def _pixels(bounds: tuple[float, float]) -> st.SearchStrategy[float]:
    low, high = np.float32(bounds[0]), np.float32(bounds[1])
    low = low if float(low) >= bounds[0] else np.nextafter(low, np.float32(9))
    high = high if float(high) <= bounds[1] else np.nextafter(high, np.float32(-9))
    return st.floats(float(low), float(high), width=32)


@dataclasses.dataclass(frozen=True)
class Situation:
    threat: Ball
    x: Tensor
    elsewhere: Tensor
    grad: Tensor


@st.composite
def situations(draw: st.DrawFn, kind: Kind) -> Situation:
    """A threat, images in its box, a point anywhere, and a gradient with NaN and infinities."""
    bounds = draw(BOXES)
    x = draw(tensors(_pixels(bounds)))
    shape = tuple(x.shape)
    return Situation(
        threat=kind(draw(EPS), bounds),
        x=x,
        elsewhere=draw(tensors(st.floats(width=32) | st.floats(-2, 2, width=32), shape)),
        grad=draw(tensors(st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0]), shape)),
    )


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


@given(data=st.data())
def test_the_linf_projection_is_the_nearest_point(data: st.DataObject) -> None:
    """Coordinate by coordinate: the clamp of the wide point, or of x where that is NaN, up to one ulp."""
    case = data.draw(situations(Linf))
    result = case.elsewhere.clone()
    case.threat.project_(result, case.x)
    eps = float(case.threat.eps)
    low = (case.x.double() - eps).clamp_min(case.threat.bounds[0])
    high = (case.x.double() + eps).clamp_max(case.threat.bounds[1])
    wide = torch.where(case.elsewhere.isnan(), case.x, case.elsewhere).double()
    expected = torch.minimum(torch.maximum(wide, low), high)
    torch.testing.assert_close(result.double(), expected, rtol=2.0**-23, atol=1e-44 + eps * 2.0**-23)


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


@given(x=st.floats(0, 1, width=32), delta=st.floats(-1, 1, width=32))
@example(x=0.5, delta=2.0**-30)
@example(x=1e-45, delta=1.0)
def test_membership_is_decided_at_the_distance_itself(x: float, delta: float) -> None:
    """With eps exactly the distance it is inside; with any smaller rational number it is not."""
    clean = torch.full((1, 1, 1, 1), x)
    other = (clean + delta).clamp(0, 1)
    distance = abs(Fraction(float(other)) - Fraction(float(clean)))
    for kind in (Linf, L2, L1):
        assert kind(distance).contains(other, clean).tolist() == [True]
        if distance:
            assert kind(distance * (1 - Fraction(1, 10**40))).contains(other, clean).tolist() == [False]


@pytest.mark.parametrize(
    ("x_adv", "x", "eps"),
    [
        (0.5, -(2.0**-149), Fraction(1, 2)),
        (1.0, 2.0**-54 * (1 + 2.0**-23), 1 - Fraction(1, 2**53)),
        (1.0, 2.0**-60, 1 - Fraction(1, 2**60)),
        (1.0, 2.0**-60, 1 - Fraction(1, 2**60) - Fraction(1, 2**200)),
    ],
)
def test_a_distance_that_float64_rounds_to_eps_is_judged_by_its_rest(
    x_adv: float, x: float, eps: Fraction
) -> None:
    clean, other = torch.full((1, 1, 1, 1), x), torch.full((1, 1, 1, 1), x_adv)
    distance = Fraction(x_adv) - Fraction(float(clean))
    assert float(distance) == float(eps)  # float64 can't tell them apart
    for kind in (Linf, L2, L1):
        assert kind(eps, (-1.0, 1.0)).contains(other, clean).tolist() == [distance <= eps]


def test_one_unit_in_the_last_place_outside_is_outside() -> None:
    """float32(8/255) is above 8/255, and 0.5 + 8/255 - 0.5 hides it from float32 arithmetic."""
    x = torch.full((1, 3, 4, 4), 0.5)
    x_adv = x.clone()
    threat = Linf("8/255")
    threat.project_(x_adv.fill_(1.0), x)
    assert bool(threat.contains(x_adv, x))
    x_adv[0, 1, 2, 3] = torch.nextafter(x_adv[0, 1, 2, 3], torch.tensor(2.0))
    assert not bool(threat.contains(x_adv, x))
    zero = torch.zeros(1, 1, 1, 1)
    assert Fraction(float(torch.tensor(8 / 255))) > Fraction(8, 255)
    assert not bool(threat.contains(zero + 8 / 255, zero))


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


def test_linf_starts_are_uniform_and_symmetric_in_every_channel() -> None:
    """A start drawn from [0, eps], or with one eps for all channels applied to the first, would fail."""
    eps = 0.25
    x = torch.full((2_000, 3, 2, 2), 0.5)
    delta = (Linf(eps).start(x, Draws(0, torch.arange(2_000))) - x).transpose(0, 1).flatten(1)
    spread = eps / math.sqrt(3 * delta.shape[1])
    assert bool((delta.mean(1).abs() < 4 * spread).all())
    assert bool((delta.amin(1) < -0.999 * eps).all())
    assert bool((delta.amax(1) > 0.999 * eps).all())
    counts = torch.histc(delta, bins=20, min=-eps, max=eps)
    assert float((counts / counts.mean() - 1).abs().max()) < 0.1


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


@KINDS
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("8/255", Fraction(8, 255)),
        (" 8/255 ", Fraction(8, 255)),
        ("0.1", Fraction(1, 10)),
        (0.1, Fraction(1, 10)),
        (0.3, Fraction(3, 10)),
        (1e-3, Fraction(1, 1000)),
        (np.float64(0.1), Fraction(1, 10)),
        (Fraction(1, 3), Fraction(1, 3)),
        (0, Fraction(0)),
        (1, Fraction(1)),
        ("1e-2", Fraction(1, 100)),
    ],
)
def test_eps_is_the_fraction_that_was_meant(kind: Kind, written: Number, meant: Fraction) -> None:
    assert kind(written).eps == meant
    assert kind(written) == kind(meant)
    assert hash(kind(written)) == hash(kind(meant))


@KINDS
@pytest.mark.parametrize("bad", ["eight", "8/0", "", "8//255", math.nan, math.inf, "nan", "inf", None, [8]])
def test_what_is_no_number_is_no_eps(kind: Kind, bad: Number) -> None:
    with pytest.raises(InputError) as caught:
        kind(bad)
    assert caught.value.seen == f"eps {bad!r}"
    assert caught.value.instead == 'write "8/255" or 0.03'


@pytest.mark.parametrize("eight", [8, "8", 8.0])
def test_eps_in_steps_of_255_is_recognised(eight: Number) -> None:
    with pytest.raises(InputError) as caught:
        Linf(eight)
    assert caught.value.seen == f"eps {eight}"
    assert caught.value.expected == "at most 1, the width of the box (0.0, 1.0)"
    assert caught.value.instead == "did you mean 8/255?"


def test_eps_beyond_the_box_is_refused_for_linf_alone() -> None:
    with pytest.raises(InputError, match="write it in pixel units of"):
        Linf("3/2")
    assert Linf("3/2", (-1.0, 1.0)).eps == Fraction(3, 2)
    assert Linf(1).eps == 1
    assert L2(8).eps == L1(8).eps == 8


@KINDS
def test_a_negative_eps_is_refused(kind: Kind) -> None:
    with pytest.raises(InputError) as caught:
        kind("-8/255")
    assert (caught.value.seen, caught.value.instead) == ("eps -8/255", 'write "8/255"')


@pytest.mark.parametrize("eps", ["1e39", "1e200", "1e400", 1e300])
def test_an_eps_beyond_float32_is_refused_when_written(eps: Number) -> None:
    for kind in (L2, L1):
        with pytest.raises(InputError, match="float32"):
            kind(eps)


@KINDS
@pytest.mark.parametrize(
    "bounds",
    [
        (1.0, 0.0),
        (0.0, 0.0),
        (0.0, math.nan),
        (math.nan, 1.0),
        (-math.inf, 1.0),
        (0.0,),
        (0.0, 1.0, 2.0),
        ("a", 1),
    ],
)
def test_a_box_that_is_none_is_refused(kind: Kind, bounds: tuple[float, float]) -> None:
    with pytest.raises(InputError) as caught:
        kind("8/255", bounds)
    assert caught.value.seen == f"bounds {bounds}"
    assert caught.value.instead == "write bounds=(0.0, 1.0)"


@given(EPS, BOXES)
def test_a_repr_is_the_code_that_makes_the_value(eps: Fraction, bounds: tuple[float, float]) -> None:
    for threat in (Linf(eps, bounds), L2(eps, bounds), L1(eps, bounds)):
        assert eval(repr(threat), {"Linf": Linf, "L2": L2, "L1": L1}) == threat
        assert copy.deepcopy(threat) == threat
        assert pickle.loads(pickle.dumps(threat)) == threat


def test_a_repr_reads_as_it_is_written() -> None:
    assert repr(Linf("8/255")) == 'Linf("8/255")'
    assert repr(L2(0.5, (-1, 1))) == 'L2("1/2", bounds=(-1.0, 1.0))'


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


def test_a_threat_has_a_name() -> None:
    for kind in (Linf, L2, L1):
        threat = kind("1/3", (-1.0, 1.0))
        assert from_name(threat.name, "1/3", (-1.0, 1.0)) == threat
    with pytest.raises(InputError, match="norm 'l0'; expected linf, l2 or l1"):
        from_name("l0", 1)


def test_the_median_linf_start_uses_the_whole_budget() -> None:
    """A start of half the budget would pass every membership test."""
    x = torch.full((500, 1, 1, 1), 0.5)
    delta = (Linf("1/4").start(x, Draws(0, torch.arange(500))) - x).abs().flatten().tolist()
    assert statistics.median(delta) == pytest.approx(1 / 8, abs=0.02)


@pytest.mark.parametrize(
    ("value", "fraction"),
    [
        (8 / 255, "8/255"),
        (3 / 255, "1/85"),
        (1 / 300, "1/300"),
        (0.1, "1/10"),
        (0.031, "31/1000"),
        (0.5, "1/2"),
    ],
)
def test_a_python_float_is_the_simple_fraction_that_it_stands_for(value: float, fraction: str) -> None:
    assert Linf(value) == Linf(fraction)
    assert float(Linf(value).eps) == value


def test_a_float_that_no_simple_fraction_gives_is_kept_to_the_last_digit() -> None:
    value = 0.012345678901234567
    assert float(Linf(value).eps) == value


@KINDS
def test_the_budget_is_put_on_the_device_once_and_is_an_ordinary_tensor(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy to the device at every step could not be captured in a CUDA graph."""
    seen: list[Tensor] = []
    name = f"{kind.__name__.lower()}_step_"
    monkeypatch.setattr(kernels, name, lambda *arguments: seen.append(arguments[4]))
    x = torch.zeros(1, 2)
    with torch.inference_mode():
        kind("1/977").step_(x, x, x, torch.ones(1))
    kind("1/977").step_(x, x, x, torch.ones(1))
    kind("1/976").step_(x, x, x, torch.ones(1))
    assert seen[0] is seen[1]
    assert not seen[0].is_inference()
    assert Fraction(1, 978) < Fraction(seen[0].item()) <= Fraction(1, 977) < Fraction(seen[2].item())
