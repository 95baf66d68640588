"""Square: inside its ball, the same in any batch, never worse for more queries, and strong."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.attacks import PGD, Square
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction, Margin, margin
from harden.models import Classifier, PassMeter, counting, frozen
from harden.threats import L1, L2, Linf
from tests.attacks.own_loss import OwnLoss

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2 | L1
BALLS = pytest.mark.parametrize(
    "threat", [Linf("8/255"), L2("1/2"), L1(3), Linf("1/10", (-1.0, 1.0))], ids=repr
)
SHAPES = [(3, 8, 8), (1, 8, 8), (2, 3, 9), (1, 1, 1), (3, 1, 7), (4, 11, 2), (1, 5, 6)]


def _draws(x: Tensor, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(len(x)))


def _x(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    noise = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))
    return (1.2 * noise - 0.1).clamp(0, 1)


def _waves(shape: tuple[int, ...], seed: int) -> LossFunction:
    """Many local maxima, pixel by pixel: the same bits in any batch."""
    generator = torch.Generator().manual_seed(seed)
    size, pace = (torch.rand(shape, generator=generator) for _ in range(2))
    return lambda x: (size * torch.sin(40 * pace * x)).flatten(1).double().sum(1).float()


# Guarantees


@given(
    seed=st.integers(0, 2**40),
    attack=st.builds(
        Square,
        queries=st.integers(1, 30),
        p=st.floats(0.01, 1.0),
        restarts=st.integers(1, 2),
        stop_early=st.booleans(),
        horizon=st.none() | st.integers(1, 100),
    ),
    eps=st.sampled_from([Fraction(8, 255), Fraction(1, 10), Fraction(1, 10**9), Fraction(0), Fraction(1)]),
    kind=st.sampled_from([Linf, L2, L1]),
    shape=st.sampled_from(SHAPES),
)
def test_the_result_lies_in_ball_and_box_and_the_loss_never_falls(
    seed: int,
    attack: Square,
    eps: Fraction,
    kind: type[Linf] | type[L2] | type[L1],
    shape: tuple[int, ...],
) -> None:
    x, loss, threat = _x(3, shape, seed % 1000), _waves(shape, seed % 7), kind(eps)
    before = x.clone()
    found = attack(loss, x, threat, _draws(x, seed))
    assert found.dtype == torch.float32
    assert found.shape == x.shape
    assert torch.equal(x, before)
    assert bool(threat.contains(found, x).all())
    assert bool((loss(found) >= loss(x)).all())
    if eps == 0:
        assert torch.equal(found, x)


@given(
    seed=st.integers(0, 500),
    queries=st.tuples(st.integers(1, 30), st.integers(0, 30)),
    restarts=st.tuples(st.integers(1, 2), st.integers(0, 2)),
    kind=st.sampled_from([Linf, L2, L1]),
)
def test_more_queries_of_one_horizon_and_more_restarts_never_lower_the_loss(
    seed: int, queries: tuple[int, int], restarts: tuple[int, int], kind: type[Linf] | type[L2] | type[L1]
) -> None:
    x, loss = _x(3, (3, 8, 8), seed), _waves((3, 8, 8), seed)

    def value(asked: int, runs: int) -> Tensor:
        attack = Square(queries=asked, restarts=runs, horizon=60)
        return loss(attack(loss, x, kind("1/5"), _draws(x, seed)))

    less = value(queries[0], restarts[0])
    assert bool((value(sum(queries), restarts[0]) >= less).all())
    assert bool((value(queries[0], sum(restarts)) >= less).all())


@BALLS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_example_takes_the_same_way_in_any_batch(threat: Ball, shape: tuple[int, ...]) -> None:
    x, loss = _x(7, shape), _waves(shape, 1)
    attack = Square(queries=40, restarts=2)
    whole = attack(loss, x, threat, _draws(x))
    for rows in (torch.tensor([4]), torch.tensor([6, 1, 0])):
        assert torch.equal(attack(loss, x[rows], threat, _draws(x).take(rows)), whole[rows])
    if math.prod(shape) > 20:
        assert not torch.equal(attack(loss, x, threat, _draws(x, 1)), whole)


# How much it finds


def _linear(n: int, side: int) -> tuple[Tensor, Tensor]:
    """Images well inside the box, and a direction."""
    generator = torch.Generator().manual_seed(3)
    x = 0.3 + 0.4 * torch.rand(n, 1, side, side, generator=generator)
    return x, torch.randn(1, side, side, generator=generator)


@pytest.mark.parametrize(
    ("threat", "share"), [(Linf("1/10"), 0.97), (L2("1/2"), 0.6), (L1(1), 0.6)], ids=repr
)
def test_on_a_linear_loss_it_comes_near_the_known_optimum(threat: Ball, share: float) -> None:
    """Where no box is in the way the largest w * delta is eps |w|_1, eps |w|_2 or eps |w|_inf."""
    x, w = _linear(6, 6)
    dual = {"linf": w.abs().sum(), "l2": w.norm(), "l1": w.abs().amax()}[threat.name]

    def loss(x: Tensor) -> Tensor:
        return (x * w).flatten(1).sum(1)

    found = Square(queries=1500)(loss, x, threat, _draws(x))
    gain = (loss(found) - loss(x)) / (float(threat.eps) * dual)
    assert float(gain.min()) > share
    assert float(gain.max()) < 1 + 1e-4


@BALLS
def test_it_breaks_a_network_without_slope_where_pgd_does_not(threat: Ball) -> None:
    """The input is quantised first: the network's gradient is zero everywhere."""
    x, w = _linear(20, 6)

    def classify(x: Tensor) -> Tensor:
        steps = x + ((32 * x).round() / 32 - x).detach() - (x - x.detach())
        z = ((steps - 0.5) * w).flatten(1).sum(1)
        return torch.stack((z, -z), 1)

    y = classify(x).argmax(1)
    loss = Margin(classify, y)
    near = {"linf": threat.scaled(4), "l2": threat.scaled(2), "l1": threat}[threat.name]
    by_square = loss.judged(Square(queries=300)(loss, x, near, _draws(x)))[1]
    by_pgd = loss.judged(PGD(steps=30)(loss, x, near, _draws(x)))[1]
    assert int(by_square.sum()) >= int(by_pgd.sum()) + 5


# What it asks for


class Counted(OwnLoss):
    """A loss that errs above 0, and notes the sizes of the batches it is called on."""

    def __init__(self, loss: LossFunction, y: Tensor) -> None:
        self.loss, self.y = loss, y
        self.asked: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        return self.judged(x)[0]

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert not x.requires_grad
        self.asked.append(len(x))
        value = self.loss(x) - self.y
        return value, value > 0

    def take(self, index: Tensor) -> Counted:
        part = Counted(self.loss, self.y[index])
        part.asked = self.asked
        return part


@BALLS
def test_broken_images_cost_no_more_and_are_the_same_without_stopping(threat: Ball) -> None:
    x, loss = _x(30, (3, 8, 8)), _waves((3, 8, 8), 2)
    y = loss(x) + torch.linspace(-1, 12, 30)
    parts, whole = Counted(loss, y), Counted(loss, y)
    found = Square(queries=50, stop_early=True)(parts, x, threat, _draws(x))
    wrong = parts.judged(found)[1]
    assert 3 < int(wrong.sum()) < 30
    assert torch.equal(found[0], x[0])  # the network erred on the image itself
    assert len(parts.asked) == 52  # the image, 50 queries, and ours
    assert sum(parts.asked) < 0.95 * 52 * 30
    same = Square(queries=50)(whole, x, threat, _draws(x))
    assert whole.asked == [30] * 51
    assert torch.equal(whole.judged(same)[1], wrong)
    assert torch.equal(same[~wrong], found[~wrong])


def test_where_all_is_wrong_nothing_is_asked_again(images: Tensor) -> None:
    loss = Counted(lambda x: x.flatten(1).sum(1), torch.full((16,), -1.0))
    assert torch.equal(Square(stop_early=True)(loss, images, Linf("1/10"), _draws(images)), images)
    assert loss.asked == [16]


def test_it_asks_for_no_gradient_and_leaves_the_network_alone(
    network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    model = Classifier(network)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    with frozen(model), counting(PassMeter()) as meter:
        Square(queries=8, stop_early=False)(Margin(model, labels), images, L2("1/2"), _draws(images))
    assert meter.passes == pytest.approx(9 * 16 / 3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    assert all(weight.grad is None for weight in model.parameters())


def test_logits_that_are_no_numbers(images: Tensor, labels: Tensor) -> None:
    """They are an error where the loss tells; a loss alone that is no number is never the best."""

    def classify(x: Tensor) -> Tensor:
        z = x.flatten(1)[:, :4] + 5 * nn.functional.one_hot(labels[: len(x)], 4)
        return torch.where(x.flatten(1).sum(1, keepdim=True) < 96, math.nan, z)

    for threat in (Linf("8/255"), L2("1/2"), L1(3)):
        loss = Margin(classify, labels)
        found = Square(queries=20)(loss, images, threat, _draws(images))
        assert bool(threat.contains(found, images).all())
        already = ~classify(images).isfinite().all(1)
        assert bool(loss.judged(found)[1][already].all())
        assert torch.equal(found[already], images[already])
        alone = Square(queries=20)(lambda x: margin(classify(x), labels), images, threat, _draws(images))
        assert bool(loss(alone)[~already].isfinite().all())


def test_no_image(images: Tensor) -> None:
    for threat in (Linf("8/255"), L2("1/2"), L1(3)):
        assert Square()(lambda x: x.sum(), images[:0], threat, _draws(images[:0])).shape == (0, 3, 8, 8)


def test_the_squares_shrink_as_in_the_paper() -> None:
    shape = torch.Size((1, 3, 32, 32))
    attack = Square(queries=10_000)
    sides = [attack.side(query, shape) for query in (1, 11, 12, 52, 202, 502, 1002, 2002, 4002, 6002, 8002)]
    assert sides == [max(round(math.sqrt(0.8 / 2**k * 1024)), 1) for k in (0, *range(10))]
    assert Square(queries=500).side(52, shape) == Square().side(511, shape)


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda: Square(queries=0), "0 queries and 1 restarts"),
        (lambda: Square(restarts=0), "5000 queries and 0 restarts"),
        (lambda: Square(p=0.0), "p 0.0"),
        (lambda: Square(p=math.nan), "p nan"),
        (lambda: Square(horizon=0), "a horizon of 0 queries"),
        (lambda: Square()(torch.sum, torch.zeros(2, 3), Linf("0.1"), Draws(0, torch.arange(2))), "images of"),
        (lambda: Square()(torch.sum, torch.zeros(2, 3), Linf("0.1"), Draws(0, torch.arange(3))), "draws for"),
    ],
)
def test_what_can_not_work_is_refused(make: object, seen: str) -> None:
    assert callable(make)
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.seen.startswith(seen)
