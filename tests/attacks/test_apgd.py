"""Auto-PGD against the paper's algorithm written by hand, an example at a time, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.attacks import APGD, PGD
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction, Margin
from harden.models import Classifier, frozen
from harden.threats import L2, Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2
EVERY_BALL = pytest.mark.parametrize("threat", [Linf("1/10"), L2("1/2")], ids=repr)


def _smooth(seed: int) -> LossFunction:
    """A loss with several maxima within a ball, smooth enough for float32 to follow float64."""
    generator = torch.Generator().manual_seed(seed)
    size, pace, phase = (torch.rand(3, 3, 3, generator=generator) for _ in range(3))

    def loss(x: Tensor) -> Tensor:
        return (size.to(x) * torch.sin(12 * pace.to(x) * x + 6 * phase.to(x))).flatten(1).sum(1)

    return loss


def _projected(u: Tensor, x: Tensor, threat: Ball) -> Tensor:
    eps = float(threat.eps)
    if isinstance(threat, Linf):
        u = torch.minimum(torch.maximum(u, x - eps), x + eps)
    else:
        delta = u - x
        u = x + delta * min(1.0, eps / max(float(delta.norm()), 1e-300))
    return u.clamp(*threat.bounds)


def _by_hand(loss: LossFunction, x: Tensor, start: Tensor, threat: Ball, steps: int, rho: float) -> Tensor:
    """Algorithm 1 of 2003.01690 for one example (1, C, H, W) in float64: the point of largest loss."""
    checkpoints, p, q = [0], 0.0, 0.22
    while math.floor(q * steps + 1e-9) <= steps:
        checkpoints.append(math.floor(q * steps + 1e-9))
        p, q = q, q + max(q - p - 0.03, 0.06)

    def at(point: Tensor) -> tuple[float, Tensor]:
        point = point.clone().requires_grad_()
        value = loss(point)
        (gradient,) = torch.autograd.grad(value.sum(), point)
        direction = gradient.sign() if isinstance(threat, Linf) else gradient / gradient.norm()
        return float(value.detach()), direction

    x, now = x.double(), start.double()
    eta = 2 * float(threat.eps)
    value, direction = at(now)
    values, etas, tops = [value], [eta], [value]
    best, best_value, best_direction = now, value, direction
    before = now
    for k in range(steps):
        if k in checkpoints[1:]:
            j = checkpoints.index(k)
            since = checkpoints[j - 1]
            rises = sum(values[i + 1] > values[i] for i in range(since, k))
            first = rises < rho * (k - since)
            second = len(etas) > 1 and etas[-1] == etas[-2] and tops[-1] == best_value
            etas.append(eta / 2 if first or second else eta)
            if first or second:
                eta, now, direction = eta / 2, best, best_direction
            tops.append(best_value)
        z = _projected(now + eta * direction, x, threat)
        moved = z if k == 0 else _projected(now + 0.75 * (z - now) + 0.25 * (now - before), x, threat)
        before, now = now, moved
        value, direction = at(now)
        values.append(value)
        if value > best_value:
            best, best_value, best_direction = now, value, direction
    return best


@EVERY_BALL
@pytest.mark.parametrize("rho", [0.75, 1.0])
def test_it_is_the_algorithm_of_the_paper(threat: Ball, rho: float) -> None:
    """With 100 steps, whose checkpoints no rounding moves, and a loss on which float32 follows float64."""
    x = torch.rand(12, 3, 3, 3, generator=torch.Generator().manual_seed(5))
    draws = Draws(3, torch.arange(12))
    start, loss = threat.start(x, draws.fold(0)), _smooth(2)
    found = APGD(steps=100, rho=rho)(loss, x, threat, draws)
    rows = [_by_hand(loss, x[i : i + 1], start[i : i + 1], threat, 100, rho) for i in range(12)]
    expected = torch.cat(rows)
    torch.testing.assert_close(loss(found).double(), loss(expected), rtol=0, atol=2e-3)
    near = (found.double() - expected).abs().flatten(1).amax(1) < 5e-3
    assert int(near.sum()) >= 11  # the one left may stand on another of two equal maxima


@EVERY_BALL
@given(seed=st.integers(0, 200), steps=st.integers(1, 30), restarts=st.integers(1, 2))
def test_the_result_is_inside_and_never_below_its_start(
    threat: Ball, seed: int, steps: int, restarts: int
) -> None:
    x = torch.rand(5, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    loss, draws = _smooth(seed), Draws(seed, torch.arange(5))
    found = APGD(steps=steps, restarts=restarts)(loss, x, threat, draws)
    assert bool(threat.contains(found, x).all())
    assert bool((loss(found) >= loss(threat.start(x, draws.fold(0)))).all())
    assert bool((loss(found) >= loss(APGD(steps=steps)(loss, x, threat, draws))).all())


@EVERY_BALL
def test_an_example_takes_the_same_way_in_any_batch(threat: Ball) -> None:
    x = torch.rand(9, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    loss, draws = _smooth(1), Draws(0, torch.arange(9))
    whole = APGD(steps=20)(loss, x, threat, draws)
    for rows in (torch.tensor([4]), torch.tensor([8, 1, 0])):
        assert torch.equal(APGD(steps=20)(loss, x[rows], threat, draws.take(rows)), whole[rows])


@EVERY_BALL
def test_it_beats_pgd_of_as_many_steps_on_a_network(
    threat: Ball, network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    model, draws = Classifier(network), Draws(0, torch.arange(16))
    with frozen(model), torch.no_grad():
        loss = Margin(model.logits, labels)
        apgd = loss(APGD(steps=50, stop_early=False)(loss, images, threat, draws))
        pgd = loss(PGD(steps=50, stop_early=False)(loss, images, threat, draws))
    assert float(apgd.mean()) > float(pgd.mean())


def test_gradients_that_are_no_numbers_do_not_poison_it(images: Tensor) -> None:
    def loss(x: Tensor) -> Tensor:
        return torch.where(x[:, 1] > 2, x[:, 1].log() * math.nan, x[:, 0]).flatten(1).sum(1)

    for threat in (Linf("8/255"), L2("1/2")):
        found = APGD(steps=6)(loss, images, threat, Draws(0, torch.arange(16)))
        assert bool(found.isfinite().all())
        assert bool(threat.contains(found, images).all())


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda: APGD(steps=0), "0 steps and 1 restarts"),
        (lambda: APGD(restarts=0), "100 steps and 0 restarts"),
        (lambda: APGD(rho=1.5), "rho 1.5"),
        (lambda: APGD(rho=math.nan), "rho nan"),
    ],
)
def test_settings_that_can_not_work_are_refused(make: object, seen: str) -> None:
    assert callable(make)
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.seen == seen


def test_no_image_and_draws_of_another_number(images: Tensor) -> None:
    assert APGD()(_smooth(0), images[:0], Linf("0.1"), Draws(0, torch.arange(0))).shape == (0, 3, 8, 8)
    with pytest.raises(InputError, match="draws for 3 examples and 16 images"):
        APGD()(_smooth(0), images, Linf("0.1"), Draws(0, torch.arange(3)))
