"""Auto-PGD in the L1 ball against a loop written by hand, an example at a time, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.attacks import APGD, PGD
from harden.attacks.apgd_l1 import sparse_start
from harden.draws import Draws
from harden.losses import LossFunction
from harden.threats import L1

pytestmark = pytest.mark.usefixtures("rng_untouched")


def _smooth(seed: int) -> LossFunction:
    generator = torch.Generator().manual_seed(seed)
    size, pace, phase = (torch.rand(1, 8, 8, generator=generator) for _ in range(3))

    def loss(x: Tensor) -> Tensor:
        return (size.to(x) * torch.sin(4 * pace.to(x) * x + 6 * phase.to(x))).flatten(1).sum(1)

    return loss


def _projected(u: Tensor, x: Tensor, eps: float) -> Tensor:
    """The nearest point of ball and box, by bisection on the common cut."""
    room = torch.where(u > x, 1 - x, x)
    size = (u - x).abs()
    low, high = 0.0, float(size.max())
    if float(torch.minimum(size, room).sum()) > eps:
        for _ in range(200):
            middle = (low + high) / 2
            inside = float(torch.minimum((size - middle).clamp_min(0), room).sum()) <= eps
            low, high = (low, middle) if inside else (middle, high)
        size = (size - high).clamp_min(0)
    return x + (u - x).sign() * torch.minimum(size, room)


def _by_hand(loss: LossFunction, x: Tensor, start: Tensor, eps: float, steps: int) -> Tensor:
    """The adaptive sparsity of 2103.01208, section 4, for one image (1, C, H, W)."""

    def at(point: Tensor) -> tuple[float, Tensor]:
        point = point.clone().requires_grad_()
        value = loss(point)
        (gradient,) = torch.autograd.grad(value.sum(), point)
        return float(value.detach()), gradient

    x, now = x.double(), start.double()
    k, eta, changed = 0.2 * x.numel(), eps, float(x.numel())
    value, gradient = at(now)
    best, best_value, best_gradient = now, value, gradient
    for step in range(steps):
        if step and step % max(int(0.04 * steps), 1) == 0:
            count = float((best.float() != x.float()).sum())
            if count < 0.95 * changed:
                eta, now, gradient = eps, best, best_gradient
            else:
                eta = max(eta / 1.5, eps / 10)
            k, changed = max(count / 1.5, 1), count
        # Among the entries that can move.
        free = torch.where(gradient > 0, now < 1, now > 0) & (gradient != 0)
        rank = torch.where(free, gradient.abs(), torch.zeros_like(gradient)).flatten()
        chosen = rank >= rank.sort(descending=True).values[min(int(k), int(free.sum())) - 1]
        sign = torch.where(chosen.view_as(x) & free, gradient.sign(), torch.zeros_like(x))
        now = _projected(now + eta * sign / sign.abs().sum(), x, eps)
        value, gradient = at(now)
        if value > best_value:
            best, best_value, best_gradient = now, value, gradient
    return best


@pytest.mark.parametrize(("steps", "eps"), [(1, "2"), (12, "2"), (30, "2"), (75, "5")])
def test_it_is_the_schedule_of_the_paper(steps: int, eps: str) -> None:
    x = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    threat, draws, loss = L1(eps), Draws(2, torch.arange(10)), _smooth(4)
    start = sparse_start(threat, x, draws.fold(0))
    found = APGD(steps=steps)(loss, x, threat, draws)
    expected = [_by_hand(loss, x[i : i + 1], start[i : i + 1], float(threat.eps), steps) for i in range(10)]
    # Rounding decides between entries of almost equal gradient.
    torch.testing.assert_close(loss(found).double(), loss(torch.cat(expected)), rtol=0, atol=5e-3)
    assert bool((loss(found) > loss(x)).all())


@given(seed=st.integers(0, 200), steps=st.integers(1, 30), eps=st.sampled_from(["0", "1/10", "3", "1000"]))
def test_the_result_is_inside_and_never_below_its_start(seed: int, steps: int, eps: str) -> None:
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    threat, loss, draws = L1(eps), _smooth(seed), Draws(seed, torch.arange(4))
    found = APGD(steps=steps)(loss, x, threat, draws)
    assert bool(threat.contains(found, x).all())
    assert bool((loss(found) >= loss(sparse_start(threat, x, draws.fold(0)))).all())
    if eps == "0":
        assert torch.equal(found, x)


def test_a_start_is_sparse_and_belongs_to_the_image() -> None:
    x = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    threat, draws = L1("5"), Draws(0, torch.arange(6))
    start = sparse_start(threat, x, draws)
    changed = (start != x).flatten(1).sum(1)
    assert int(changed.max()) < 0.2 * 768
    assert int(changed.min()) >= 5
    assert torch.equal(sparse_start(threat, x[[4]], draws.take(torch.tensor([4])))[0], start[4])


def test_an_example_takes_the_same_way_in_any_batch() -> None:
    x = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss, draws, threat = _smooth(1), Draws(0, torch.arange(7)), L1("3")
    whole = APGD(steps=30)(loss, x, threat, draws)
    for rows in (torch.tensor([4]), torch.tensor([6, 1])):
        assert torch.equal(APGD(steps=30)(loss, x[rows], threat, draws.take(rows)), whole[rows])


def test_it_climbs_higher_than_pgd_of_as_many_steps() -> None:
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    loss, draws, threat = _smooth(7), Draws(0, torch.arange(20)), L1("4")
    apgd = loss(APGD(steps=50)(loss, x, threat, draws))
    pgd = loss(PGD(steps=50)(loss, x, threat, draws))
    assert float(apgd.mean()) > float(pgd.mean())
