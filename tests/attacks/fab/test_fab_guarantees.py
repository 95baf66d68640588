"""What FAB guarantees: ball and box, the network's errors, the same bits in any batch, no harm from NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.attacks import FAB, Nearest
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import FastCopyLoss, LossFunction
from harden.threats import L1, L2, Linf
from tests.attacks.own_loss import OwnLoss

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2 | L1
BALLS = pytest.mark.parametrize("threat", [Linf("1/10"), L2("1/2"), L1(2)], ids=repr)
N = 12


def _draws(n: int = N, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(n))


@dataclass(frozen=True, eq=False)
class Waves(OwnLoss):
    """Many local maxima, pixel by pixel: the same bits in any batch. The network errs above `errs_at`."""

    size: Tensor
    pace: Tensor
    errs_at: Tensor
    asked: list[int] = field(default_factory=list)

    def __call__(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        return (self.size * torch.sin(20 * self.pace * x)).flatten(1).sum(1) - self.errs_at

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = self(x)
        return value, value.detach() > 0

    def take(self, index: Tensor) -> Waves:
        return Waves(self.size, self.pace, self.errs_at[index], self.asked)

    def logits(self, x: Tensor) -> Tensor:
        return torch.stack((self(x), torch.zeros(len(x))), 1)


def _waves(seed: int, height: float = 4.0) -> Waves:
    generator = torch.Generator().manual_seed(seed)
    size, pace = (torch.rand(3, 4, 4, generator=generator) for _ in range(2))
    return Waves(size, pace, height + 3 * torch.randn(N, generator=generator))


def _x(seed: int) -> Tensor:
    return (1.2 * torch.rand(N, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) - 0.1).clamp(0, 1)


def _is_inside(threat: Ball, x_adv: Tensor, x: Tensor, *, ball: bool = True) -> bool:
    low, high = (Fraction(bound) for bound in threat.bounds)
    for one, clean in zip(x_adv.flatten(1).tolist(), x.flatten(1).tolist(), strict=True):
        deltas = [abs(Fraction(a) - Fraction(b)) for a, b in zip(one, clean, strict=True)]
        if isinstance(threat, L2):
            size, limit = sum(delta**2 for delta in deltas), threat.eps**2
        else:
            size, limit = (max if isinstance(threat, Linf) else sum)(deltas), threat.eps
        if (ball and size > limit) or not all(low <= Fraction(value) <= high for value in one):
            return False
    return True


@given(
    seed=st.integers(0, 1000),
    attack=st.builds(
        FAB,
        steps=st.integers(1, 5),
        restarts=st.integers(1, 3),
        alpha_max=st.floats(0, 1),
        eta=st.floats(1, 2),
        beta=st.floats(0.1, 1),
        stop_early=st.booleans(),
    ),
    eps=st.sampled_from([Fraction(8, 255), Fraction(1, 3), Fraction(1, 10**9), Fraction(0), Fraction(1)]),
    kind=st.sampled_from([Linf, L2, L1]),
    plain=st.booleans(),
)
def test_the_result_lies_in_ball_and_box_and_the_network_errs_there(
    seed: int, attack: FAB, eps: Fraction, kind: type[Linf] | type[L2] | type[L1], plain: bool
) -> None:
    x, loss, threat = _x(seed), _waves(seed), kind(eps)
    before = x.clone()
    given_: LossFunction = (lambda x: loss(x)) if plain else loss
    found = attack(given_, x, threat, _draws(seed=seed))
    assert (found.dtype, found.shape) == (torch.float32, x.shape)
    assert torch.equal(x, before)
    assert bool(threat.contains(found, x).all())
    assert _is_inside(threat, found, x)
    moved = (found != x).flatten(1).any(1)
    assert bool((loss(found)[moved] > 0).all())
    if eps == 0:
        assert torch.equal(found, x)
    nearest = attack.nearest(given_, x, threat, _draws(seed=seed))
    reached = nearest.distance.isfinite()
    assert _is_inside(threat, nearest.x_adv, x, ball=False)
    assert torch.equal(reached, loss(nearest.x_adv) > 0)
    assert torch.equal(nearest.x_adv[~reached], x[~reached])
    own = threat.size(nearest.x_adv.double() - x.double())
    assert torch.equal(nearest.distance[reached], own[reached])
    assert torch.equal(nearest.distance == 0, loss(x) > 0)


@given(
    seed=st.integers(0, 1000),
    steps=st.integers(1, 6),
    restarts=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    kind=st.sampled_from([Linf, L2, L1]),
    stop_early=st.booleans(),
)
def test_more_restarts_are_never_worse(
    seed: int,
    steps: int,
    restarts: tuple[int, int],
    kind: type[Linf] | type[L2] | type[L1],
    stop_early: bool,
) -> None:
    x, loss, threat = _x(seed), _waves(seed), kind("1/4")
    less = FAB(steps, restarts[0], stop_early=stop_early)
    more = FAB(steps, sum(restarts), stop_early=stop_early)
    near, nearer = (attack.nearest(loss, x, threat, _draws()).distance for attack in (less, more))
    assert bool((nearer <= near).all())
    few, many = (loss(attack(loss, x, threat, _draws())) > 0 for attack in (less, more))
    assert bool((many | ~few).all())


def test_restarts_find_more_than_one_run() -> None:
    """The property above is empty unless they do."""
    better = 0
    for threat, steps in ((L2(2), 20), (L1(6), 3)):
        for seed in range(3):
            x, loss = _x(seed), _waves(seed, height=7.0)
            one, four = (FAB(steps, n).nearest(loss, x, threat, _draws()).distance for n in (1, 4))
            better += int((four < one).sum())
    assert better > 5


@BALLS
@pytest.mark.parametrize("attack", [FAB(steps=8, restarts=2), FAB(steps=8, restarts=2, stop_early=False)])
@pytest.mark.parametrize("size", [1, 5])
def test_an_example_has_the_same_bits_in_any_batch_and_layout(threat: Ball, attack: FAB, size: int) -> None:
    x, loss, draws = _x(3), _waves(3), _draws(seed=5)
    whole, nearest = attack(loss, x, threat, draws), attack.nearest(loss, x, threat, draws)
    parts = torch.split(torch.arange(N).flip(0), size)
    for rows in parts:
        assert torch.equal(attack(loss.take(rows), x[rows], threat, draws.take(rows)), whole[rows])
        own = attack.nearest(loss.take(rows), x[rows], threat, draws.take(rows))
        assert torch.equal(own.distance, nearest.distance[rows])
        assert torch.equal(own.x_adv, nearest.x_adv[rows])
    last = attack(loss, x.contiguous(memory_format=torch.channels_last), threat, draws)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, whole)


@BALLS
def test_random_starts_lie_at_half_of_eps_and_belong_to_the_id(threat: Ball) -> None:
    """Where nothing was found, and from the second run on."""

    def starts(draws: Draws) -> Tensor:
        with_gradient: list[Tensor] = []

        def out_of_reach(x: Tensor) -> Tensor:
            if x.requires_grad:
                with_gradient.append(x.detach().clone())
            return x.flatten(1).sum(1) - 100

        x = torch.full((len(draws), 3, 4, 4), 0.5)
        FAB(steps=1, restarts=3).nearest(out_of_reach, x, threat, draws)
        assert torch.equal(with_gradient[0], x)
        return torch.stack(with_gradient[1:])

    whole = starts(_draws())
    for run in whole:
        torch.testing.assert_close(
            threat.size(run - 0.5), torch.full((N,), float(threat.eps) / 2).double(), rtol=1e-4, atol=0
        )
    assert len({tuple(start) for start in whole.flatten(2).flatten(0, 1).tolist()}) == 2 * N
    rows = torch.tensor([7, 2])
    assert torch.equal(starts(_draws().take(rows)), whole[:, rows])


def test_what_is_broken_costs_no_more() -> None:
    x = _x(0)
    counts = []
    for attack in (FAB(steps=20), FAB(steps=20, stop_early=False)):
        loss = _waves(0)
        attack(loss, x, Linf("1/2"), _draws())
        counts.append(sum(loss.asked))
    assert counts[0] < 0.7 * counts[1]


@BALLS
def test_gradients_that_are_no_numbers_or_zero_do_no_harm(threat: Ball) -> None:
    x = _x(1)
    broken = torch.zeros_like(x, dtype=torch.bool)
    broken[:, 1] = True

    def spoilt(by: float, everywhere: bool) -> LossFunction:
        def loss(x: Tensor) -> Tensor:
            x = x * 1.0
            if x.requires_grad:
                where = torch.ones_like(broken) if everywhere else broken
                x.register_hook(lambda g: torch.where(where, by, g))  # type: ignore[no-untyped-call]
            return x.flatten(1).sum(1) - 30

        return loss

    for by in (math.nan, math.inf, 0.0):
        found = FAB(steps=6).nearest(spoilt(by, everywhere=False), x, threat, _draws())
        assert bool(found.distance.isfinite().all())
        assert torch.equal(found.x_adv[:, 1], x[:, 1])
        nothing = FAB(steps=4, restarts=2).nearest(spoilt(by, everywhere=True), x, threat, _draws())
        assert bool(nothing.x_adv.isfinite().all())
        assert torch.equal(nothing.distance.isinf(), (x.flatten(1).sum(1) <= 30))
        attacked = FAB(steps=4, restarts=2)(spoilt(by, everywhere=True), x, threat, _draws())
        assert torch.equal(attacked, x)


@BALLS
def test_no_image(threat: Ball) -> None:
    x, loss, draws = _x(0)[:0], _waves(0), _draws(0)
    assert FAB()(loss, x, threat, draws).shape == (0, 3, 4, 4)
    found = FAB().nearest(loss, x, threat, draws)
    assert isinstance(found, Nearest)
    assert (found.x_adv.shape, found.distance.shape) == ((0, 3, 4, 4), (0,))
    assert loss.asked == []


@BALLS
def test_a_fast_copy_is_not_believed(threat: Ball) -> None:
    """The copy errs earlier than the network, or where the network never does."""
    fast, network, x = _waves(2, height=3.0), _waves(2, height=4.0), _x(2)
    found = FAB(steps=10, restarts=2).nearest(FastCopyLoss(fast, network), x, threat, _draws())
    reached = found.distance.isfinite()
    assert bool(reached.any())
    assert torch.equal(network(found.x_adv) > 0, reached)
    attacked = FAB(steps=10)(FastCopyLoss(fast, network), x, threat, _draws())
    moved = (attacked != x).flatten(1).any(1)
    assert bool((network(attacked)[moved] > 0).all())
    never = Waves(network.size, network.pace, torch.full((N,), 100.0))
    nothing = FAB(steps=5).nearest(FastCopyLoss(fast, never), x, threat, _draws())
    assert bool(nothing.distance.isinf().all())
    assert torch.equal(FAB(steps=5)(FastCopyLoss(fast, never), x, threat, _draws()), x)


def test_another_box(images: Tensor) -> None:
    """One whose limits no float32 number has."""
    x = 2 * images - 1
    for threat in (Linf("3/10", (-1.1, 1.1)), L2(2, (-1.1, 1.1)), L1(9, (-1.1, 1.1))):
        attack, before = FAB(steps=5), x.flatten(1).sum(1)

        def loss(x: Tensor, before: Tensor = before) -> Tensor:
            return x.flatten(1).sum(1) - before - 4

        found, nearest = attack(loss, x, threat, _draws(16)), attack.nearest(loss, x, threat, _draws(16))
        assert _is_inside(threat, found, x)
        assert _is_inside(threat, nearest.x_adv, x, ball=False)
        assert bool((loss(found) > 0).all())
        assert bool((loss(nearest.x_adv) > 0).all())


def test_it_leaves_gradients_and_works_inside_inference_mode() -> None:
    x, loss = _x(0).requires_grad_(), _waves(0)
    outside = FAB(steps=4)(loss, x, Linf("1/4"), _draws())
    with torch.inference_mode():
        inside = FAB(steps=4)(loss, x.detach().clone(), Linf("1/4"), _draws())
    assert torch.equal(inside, outside)
    assert not outside.requires_grad
    assert not torch.equal(outside, x.detach())
    assert x.grad is None


def test_draws_of_another_number_of_examples_are_refused() -> None:
    for call in (FAB(), FAB().nearest):
        with pytest.raises(InputError, match="draws for 3 examples and 12 images"):
            call(_waves(0), _x(0), Linf("0.1"), _draws(3))
