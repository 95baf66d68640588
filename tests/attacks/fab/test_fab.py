"""FAB: the distances of linear networks, and better ones than PGD's on a trained network."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import APGD, FAB, PGD
from harden.attacks.fab.hyperplane_projection import to_plane
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import CrossEntropy, Margin, errs
from harden.models import Classifier, frozen
from harden.threats import L1, L2, Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2 | L1
BALLS = pytest.mark.parametrize("threat", [Linf("1/10"), L2("1/2"), L1(2)], ids=repr)
N = 12


def _draws(n: int = N, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(n))


def _two_classes(seed: int, spread: float) -> tuple[Margin, Tensor, Tensor]:
    """A linear network of two classes at images around its boundary, and its weights' difference (n,)."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 48, generator=generator)

    def classify(x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ weight.T

    x = (0.5 + spread * torch.randn(N, 3, 4, 4, generator=generator)).clamp(0, 1)
    loss = Margin(classify, classify(x).argmax(1))
    return loss, x, weight[1] - weight[0]


@BALLS
@pytest.mark.parametrize("seed", range(3))
def test_on_a_linear_network_it_finds_the_closed_form(threat: Ball, seed: int) -> None:
    loss, x, weight = _two_classes(seed, 0.02)
    found = FAB(steps=20).nearest(loss, x, threat, _draws())
    dual = {"linf": weight.abs().sum(), "l2": weight.norm(), "l1": weight.abs().amax()}[threat.name]
    expected = loss(x).abs().double() / dual.double()
    assert float(((found.x_adv - 0.5).abs()).max()) < 0.5  # the box is not in the way
    assert found.distance.dtype == torch.float64
    torch.testing.assert_close(found.distance, expected, rtol=1e-3, atol=1e-7)
    assert bool((loss(found.x_adv) > 0).all())


@BALLS
@pytest.mark.parametrize("seed", range(3))
def test_where_the_box_is_in_the_way_it_finds_the_solution_of_the_program(threat: Ball, seed: int) -> None:
    """`tests/attacks/fab/test_hyperplane_projection.py` holds `to_plane` against scipy."""
    loss, x, weight = _two_classes(seed, 0.5)
    found = FAB(steps=40).nearest(loss, x, threat, _draws())
    own = torch.where(loss.y == 0, 1.0, -1.0).unsqueeze(1) * weight
    gap = loss(x).abs().double().unsqueeze(0)
    best = threat.size(to_plane(threat.name, x.flatten(1).unsqueeze(0), own, gap, threat.bounds)[0])
    assert bool(((found.x_adv == 0) | (found.x_adv == 1)).flatten(1).any(1).any())
    torch.testing.assert_close(found.distance, best, rtol=1e-2, atol=1e-7)


@BALLS
@pytest.mark.parametrize("alpha_max", [0.1, 0.8])
def test_its_steps_are_those_of_the_paper(threat: Ball, alpha_max: float) -> None:
    """Written out for one example at a time; the way to the plane is tested by itself."""
    x = 0.3 + 0.1 * torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    visited: list[Tensor] = []

    def loss(x: Tensor) -> Tensor:
        if x.requires_grad:
            visited.append(x.detach().clone())
        return (x**3).flatten(1).sum(1) - 3.5

    FAB(steps=8, alpha_max=alpha_max).nearest(loss, x, threat, _draws(4))
    for row in range(4):
        clean, at = x[row].flatten(), x[row].flatten()
        for points in visited:
            torch.testing.assert_close(points[row].flatten(), at, rtol=0, atol=2e-5)
            normal, value = 3 * at**2, float((at**3).sum()) - 3.5
            both, gaps = torch.stack((at, clean)), [-value, -value - float(normal @ (clean - at))]
            gap = torch.tensor(gaps).double().unsqueeze(1)
            ways = to_plane(threat.name, both.unsqueeze(1), normal.unsqueeze(0), gap, (0.0, 1.0)).squeeze(1)
            here, whole = threat.size(ways).tolist()
            alpha = min(here / (here + whole), alpha_max)
            at = ((1 - alpha) * (at + 1.05 * ways[0]) + alpha * (clean + 1.05 * ways[1])).clamp(0, 1)
            if float((at**3).sum()) > 3.5:
                at = clean + 0.9 * (at - clean)


@functools.cache
def _trained() -> tuple[nn.Module, Tensor, Tensor]:
    """A small network on digits, with 60 images that it gets right."""
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(300):
        rows = torch.arange(64 * step, 64 * step + 64) % 1600
        loss = functional.cross_entropy(network(x[rows]), y[rows])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    for weight in network.parameters():
        weight.requires_grad_(False)
    right = (network(x[1600:]).argmax(1) == y[1600:]).nonzero().squeeze(1)[:60] + 1600
    return network.eval(), x[right], y[right]


@BALLS
def test_no_attack_of_a_fixed_ball_breaks_as_many_at_a_smaller_eps(threat: Ball) -> None:
    """Its distances are at most some per cent above what a bisection of eps by APGD or PGD would give."""
    network, x, y = _trained()
    loss, draws = Margin(network, y), _draws(len(x))
    found = FAB(steps=50).nearest(loss, x, threat, draws)
    assert bool(errs(network(found.x_adv), y).all())
    for share in (0.25, 0.5, 0.75):
        smaller = threat.scaled(0.97 * float(found.distance.quantile(share)) / float(threat.eps))
        for attack in (APGD(steps=50), PGD(steps=50)):
            broken = errs(network(attack(loss, x, smaller, draws)), y)
            assert float(broken.float().mean()) <= share


@BALLS
def test_as_an_attack_it_breaks_what_is_nearer_than_eps(threat: Ball) -> None:
    network, x, y = _trained()
    loss, draws = Margin(network, y), _draws(len(x))
    distance = FAB(steps=30).nearest(loss, x, threat, draws).distance
    ball = threat.scaled(float(distance.median()) / float(threat.eps))
    for attack in (FAB(steps=30), FAB(steps=30, stop_early=False)):
        found = attack(loss, x, ball, draws)
        broken = errs(network(found), y)
        assert bool((broken | (distance > float(ball.eps))).all())
        assert 0.4 < float(broken.float().mean()) < 0.7
        assert torch.equal(found[~broken], x[~broken])
        assert bool(ball.contains(found, x).all())


def test_without_stopping_early_the_witness_is_the_nearest_found() -> None:
    network, x, y = _trained()
    loss, threat = Margin(network, y), Linf("1/5")
    nearest = FAB(steps=20).nearest(loss, x, threat, _draws(len(x)))
    found = FAB(steps=20, stop_early=False)(loss, x, threat, _draws(len(x)))
    near = nearest.distance < 0.199
    assert float(near.float().mean()) > 0.5
    assert torch.equal(found[near], nearest.x_adv[near])
    first = FAB(steps=20)(loss, x, threat, _draws(len(x)))
    assert bool((threat.size(first - x)[near] >= nearest.distance[near] - 1e-7).all())


@BALLS
def test_what_is_wrong_already_has_distance_zero(threat: Ball) -> None:
    loss, x, _ = _two_classes(0, 0.1)
    loss = Margin(loss.classify, 1 - loss.y)
    found = FAB(steps=3).nearest(loss, x, threat, _draws())
    assert found.distance.tolist() == [0.0] * N
    assert torch.equal(found.x_adv, x)
    assert found.x_adv.data_ptr() != x.data_ptr()
    assert torch.equal(FAB(steps=3)(loss, x, threat, _draws()), x)


def test_a_loss_that_is_no_number_is_no_success() -> None:
    x = torch.full((N, 1, 2, 2), 0.5)

    def loss(x: Tensor) -> Tensor:
        value = x.flatten(1).sum(1) - 2.4
        return torch.where(x.flatten(1).amax(1) > 0.55, math.nan, value)

    found = FAB(steps=10).nearest(loss, x, Linf("1/10"), _draws())
    assert bool(found.distance.isinf().all())
    assert torch.equal(found.x_adv, x)


@BALLS
def test_a_network_in_training_stays_as_it_was(threat: Ball, network: nn.Module, images: Tensor) -> None:
    model = Classifier(network)
    modes = [part.training for part in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with frozen(model), torch.no_grad():
        loss = Margin(model.logits, model.logits(images).argmax(1))
        found = FAB(steps=5).nearest(loss, images, threat, _draws(16))
        assert bool((loss(found.x_adv)[found.distance.isfinite()] > -1e-4).all())
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


# Errors


def test_a_loss_whose_sign_says_nothing_is_refused(
    network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    model, threat = Classifier(network), Linf("8/255")
    with frozen(model), pytest.raises(InputError) as caught:
        FAB(steps=2)(CrossEntropy(model.logits, labels), images, threat, _draws(16))
    assert caught.value.seen.startswith("CrossEntropy, a loss that is positive")


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ({"steps": 0}, "0 steps and 1 restarts"),
        ({"restarts": 0}, "100 steps and 0 restarts"),
        ({"alpha_max": 1.5}, "alpha_max 1.5"),
        ({"alpha_max": math.nan}, "alpha_max nan"),
        ({"eta": 0.9}, "eta 0.9"),
        ({"eta": math.inf}, "eta inf"),
        ({"beta": 0.0}, "beta 0.0"),
        ({"beta": 1.1}, "beta 1.1"),
    ],
)
def test_settings_that_can_not_work_are_refused(arguments: dict[str, float], seen: str) -> None:
    make: Callable[..., FAB] = FAB
    with pytest.raises(InputError) as caught:
        make(**arguments)
    assert caught.value.seen == seen
