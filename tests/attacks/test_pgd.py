"""PGD: against a loop written by hand, inside its ball, and never the worse for more work."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.attacks import FGSM, PGD
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import CrossEntropy, Divergence, LossFunction, Margin
from harden.models import Classifier, frozen
from harden.threats import L1, L2, Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2 | L1
BALLS = pytest.mark.parametrize(
    "threat", [Linf("8/255"), L2("1/2"), L1(3), Linf("1/10", (-1.0, 1.0))], ids=repr
)


def _draws(x: Tensor, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(len(x)))


def _waves(seed: int) -> LossFunction:
    """A loss with many local maxima, computed pixel by pixel: the same bits in any batch."""
    generator = torch.Generator().manual_seed(seed)
    size, pace, phase = (torch.rand(3, 8, 8, generator=generator) for _ in range(3))

    def loss(x: Tensor) -> Tensor:
        return (size * torch.sin(150 * pace * x + 6 * phase)).flatten(1).sum(1)

    return loss


def _is_inside(threat: Ball, x_adv: Tensor, x: Tensor) -> bool:
    low, high = (Fraction(bound) for bound in threat.bounds)
    for one, clean in zip(x_adv.flatten(1).tolist(), x.flatten(1).tolist(), strict=True):
        deltas = [Fraction(a) - Fraction(b) for a, b in zip(one, clean, strict=True)]
        if isinstance(threat, L2):
            size, limit = sum(delta**2 for delta in deltas), threat.eps**2
        else:
            size, limit = (max if isinstance(threat, Linf) else sum)(map(abs, deltas)), threat.eps
        if size > limit:
            return False
        if not all(low <= Fraction(value) <= high for value in one):
            return False
    return True


def _by_hand(loss: LossFunction, x: Tensor, start: Tensor, threat: Ball, step_size: float) -> Tensor:
    """One step as the papers write it, in plain float64 torch, with no code of ours."""
    point = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(point).sum(), point)
    gradient, start64, clean = gradient.double(), start.double(), x.double()
    eps = float(threat.eps)
    if isinstance(threat, Linf):
        moved = start64 + step_size * gradient.sign()
        moved = torch.minimum(torch.maximum(moved, clean - eps), clean + eps)
    elif isinstance(threat, L1):
        stuck = torch.where(gradient > 0, start64 >= threat.bounds[1], start64 <= threat.bounds[0])
        sizes = gradient.abs().masked_fill(stuck, 0.0).flatten(1)
        largest = sizes.topk(math.ceil(sizes.shape[1] / 100)).indices
        moves = torch.zeros_like(sizes).scatter(1, largest, step_size / largest.shape[1]).view(x.shape)
        moved = _into_l1(start64 + moves * gradient.sign(), clean, eps, threat.bounds)
    else:
        length = gradient.flatten(1).norm(dim=1).clamp_min(1e-300).view(-1, 1, 1, 1)
        delta = start64 + step_size * gradient / length - clean
        length = delta.flatten(1).norm(dim=1).clamp_min(1e-300).view(-1, 1, 1, 1)
        moved = clean + delta * (eps / length).clamp_max(1)
    return moved.clamp(*threat.bounds).float()


def _into_l1(point: Tensor, clean: Tensor, eps: float, bounds: tuple[float, float]) -> Tensor:
    """The nearest point of ball and box, by plain bisection."""
    delta = (point - clean).flatten(1)
    room = torch.where(delta > 0, bounds[1] - clean.flatten(1), clean.flatten(1) - bounds[0])
    low, high = torch.zeros(len(delta), 1), delta.abs().amax(1, keepdim=True)
    if_kept = torch.minimum(delta.abs(), room).sum(1, keepdim=True) <= eps
    for _ in range(60):
        middle = (low + high) / 2
        above = torch.minimum((delta.abs() - middle).clamp_min(0), room).sum(1, keepdim=True) > eps
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    cut = torch.where(if_kept, 0.0, high)
    return clean + (delta.sign() * torch.minimum((delta.abs() - cut).clamp_min(0), room)).view(clean.shape)


# What it computes


@BALLS
def test_it_takes_the_steps_of_a_loop_written_by_hand(
    threat: Ball, network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    model = Classifier(network.double(), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    loss = CrossEntropy(model.logits, labels)
    draws = _draws(images)
    with frozen(model):
        expected = threat.start(images, draws.fold(0))
        for steps in range(1, 8):
            expected = _by_hand(loss, images, expected, threat, 0.3 * float(threat.eps))
            found = PGD(steps=steps, step_size=0.3, keep_best=False)(loss, images, threat, draws)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * max(1.0, float(threat.eps)))
            expected = found
        assert float((found - images).abs().max()) > 0.5 * float(threat.eps) / (
            1 if threat.name == "linf" else 14
        )


@BALLS
def test_fgsm_is_the_closed_form(threat: Ball, network: nn.Module, images: Tensor, labels: Tensor) -> None:
    model = Classifier(network.double())
    for loss in (CrossEntropy(model.logits, labels), Margin(model.logits, labels)):
        with frozen(model):
            found = FGSM()(loss, images, threat, _draws(images))
            expected = _by_hand(loss, images, images, threat, float(threat.eps))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert _is_inside(threat, found, images)


def test_fgsm_leaves_pixels_without_gradient_alone(images: Tensor) -> None:
    found = FGSM()(lambda x: x[:, 0].flatten(1).sum(1), images, Linf("8/255"), _draws(images))
    assert torch.equal(found[:, 1:], images[:, 1:])
    assert bool((found[:, 0] >= images[:, 0]).all())
    assert float((found[:, 0] - images[:, 0]).max()) == pytest.approx(8 / 255, rel=1e-6)


def test_the_default_step_size_reaches_across_the_ball(images: Tensor) -> None:
    """2.5 / steps of eps each: written by Madry et al., and the same as saying so."""
    loss, threat = _waves(0), Linf("8/255")
    for steps in (1, 4, 10):
        default = PGD(steps=steps)(loss, images, threat, _draws(images))
        assert torch.equal(
            default, PGD(steps=steps, step_size=2.5 / steps)(loss, images, threat, _draws(images))
        )


@BALLS
def test_restarts_are_independent_runs_and_the_best_is_kept_per_example(threat: Ball, images: Tensor) -> None:
    loss, draws = _waves(1), _draws(images)
    # One run of a folded stream is a restart of the whole: draws.fold(r) starts restart r.
    starts = [threat.start(images, draws.fold(restart)) for restart in range(4)]
    runs = []
    for start in starts:
        point = start
        for _ in range(3):
            point = _by_hand(loss, images, point, threat, 0.1 * float(threat.eps))
        runs.append(loss(point))
    attack = PGD(steps=3, step_size=0.1, restarts=4, keep_best=False)
    value = loss(attack(loss, images, threat, draws))
    torch.testing.assert_close(value, torch.stack(runs).amax(0), rtol=0, atol=2e-2)
    assert len(set(torch.stack(runs).argmax(0).tolist())) > 1


def test_without_a_random_start_it_begins_at_the_image(images: Tensor) -> None:
    seen: list[Tensor] = []

    def loss(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return x.flatten(1).sum(1)

    PGD(steps=2, random_start=False)(loss, images, Linf("8/255"), _draws(images))
    assert torch.equal(seen[0], images)
    PGD(steps=1)(loss, images, Linf("8/255"), _draws(images))
    assert torch.equal(seen[3], Linf("8/255").start(images, _draws(images).fold(0)))


# Guarantees


@given(
    seed=st.integers(0, 2**40),
    attack=st.builds(
        PGD,
        steps=st.integers(1, 4),
        step_size=st.none() | st.floats(1e-6, 1e6),
        restarts=st.integers(1, 3),
        random_start=st.booleans(),
        keep_best=st.booleans(),
        stop_early=st.booleans(),
    ),
    eps=st.sampled_from([Fraction(8, 255), Fraction(1, 10), Fraction(1, 10**9), Fraction(0), Fraction(1)]),
    kind=st.sampled_from([Linf, L2, L1]),
)
def test_the_result_lies_in_ball_and_box_for_any_loss(
    seed: int, attack: PGD, eps: Fraction, kind: type[Linf] | type[L2] | type[L1]
) -> None:
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed % 1000))
    before = x.clone()
    found = attack(_waves(seed % 7), x, kind(eps), _draws(x, seed))
    assert found.dtype == torch.float32
    assert found.shape == x.shape
    assert torch.equal(x, before)
    assert _is_inside(kind(eps), found, x)
    assert bool(kind(eps).contains(found, x).all())
    if eps == 0:
        assert torch.equal(found, x)


@given(
    seed=st.integers(0, 1000),
    steps=st.tuples(st.integers(1, 6), st.integers(0, 6)),
    restarts=st.tuples(st.integers(1, 3), st.integers(0, 3)),
    step_size=st.floats(0.05, 3.0),
    kind=st.sampled_from([Linf, L2, L1]),
    random_start=st.booleans(),
)
def test_more_steps_or_restarts_never_lower_the_loss(
    seed: int,
    steps: tuple[int, int],
    restarts: tuple[int, int],
    step_size: float,
    kind: type[Linf] | type[L2] | type[L1],
    random_start: bool,
) -> None:
    loss, threat = _waves(seed), kind("1/5")
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(seed))

    def value(n_steps: int, n_restarts: int) -> Tensor:
        attack = PGD(n_steps, step_size, n_restarts, random_start=random_start)
        return loss(attack(loss, x, threat, _draws(x, seed)))

    less = value(steps[0], restarts[0])
    assert bool((value(sum(steps), restarts[0]) >= less).all())
    assert bool((value(steps[0], sum(restarts)) >= less).all())
    last = PGD(steps[0], step_size, restarts[0], random_start=random_start, keep_best=False)
    assert bool((less >= loss(last(loss, x, threat, _draws(x, seed)))).all())
    start = threat.start(x, _draws(x, seed).fold(0)) if random_start else x
    assert bool((less >= loss(start)).all())


def test_keeping_the_best_point_differs_from_keeping_the_last(images: Tensor) -> None:
    """The property above is empty unless steps do lower this loss now and then."""
    loss, threat, draws = _waves(3), Linf("1/5"), _draws(images)
    best = loss(PGD(steps=5, step_size=1.0)(loss, images, threat, draws))
    last = loss(PGD(steps=5, step_size=1.0, keep_best=False)(loss, images, threat, draws))
    assert float((best > last).float().mean()) > 0.5


@pytest.mark.parametrize("attack", [PGD(stop_early=False), PGD(steps=3, restarts=2, keep_best=False), FGSM()])
def test_an_attack_raises_the_loss_of_a_network(
    attack: PGD, network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    model = Classifier(network)
    with frozen(model), torch.no_grad():
        log_p = model.logits(images).log_softmax(1)
        for loss in (
            CrossEntropy(model.logits, labels),
            Margin(model.logits, labels),
            lambda x: model.logits(x).logsumexp(1),
        ):
            found = attack(loss, images, Linf("8/255"), _draws(images))
            assert bool((loss(found) > loss(images)).all())
        apart = Divergence(model.logits, log_p)
        # At the clean image the divergence and its gradient are zero: a random start gets away from there.
        found = attack(apart, images, Linf("8/255"), _draws(images))
        assert bool((apart(found) > 1e-6).all()) == attack.random_start


@pytest.mark.parametrize("keep_best", [True, False])
def test_gradients_that_are_no_numbers_do_not_poison_the_result(keep_best: bool, images: Tensor) -> None:
    broken = torch.zeros_like(images, dtype=torch.bool)
    broken[:, 1] = True

    def spoil(gradient: Tensor) -> Tensor:
        return torch.where(broken, math.nan, gradient)

    def loss(x: Tensor) -> Tensor:
        x = x * 1.0
        if x.requires_grad:
            x.register_hook(spoil)  # type: ignore[no-untyped-call]
        return x.flatten(1).sum(1)

    for threat in (Linf("8/255"), L2("1/2"), L1(3)):
        attack = PGD(steps=4, random_start=False, keep_best=keep_best)
        found = attack(loss, images, threat, _draws(images))
        assert _is_inside(threat, found, images)
        assert torch.equal(found[:, 1], images[:, 1])
        assert float((found[:, 0] - images[:, 0]).max()) > 0.01


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    x = torch.full((3, 1, 2, 2), 0.5)

    def loss(x: Tensor) -> Tensor:
        value = x.flatten(1).sum(1)
        beyond = (x.flatten(1).amax(1) > 0.55) | (torch.arange(3) == 2)
        return value + torch.where(beyond, math.nan, 0.0)

    attack = PGD(steps=8, step_size=0.25, random_start=False)
    found = attack(loss, x, Linf("1/10"), _draws(x))
    assert bool(found.isfinite().all())
    assert found[:2].flatten().tolist() == pytest.approx([0.55] * 8, abs=1e-6)
    assert bool(loss(found)[:2].isfinite().all())
    assert Linf("1/10").contains(found, x).tolist() == [True] * 3


@BALLS
def test_a_batch_of_one_and_of_none(threat: Ball, images: Tensor) -> None:
    calls: list[int] = []

    def loss(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x.flatten(1).sum(1)

    one = PGD(steps=2)(loss, images[:1], threat, _draws(images[:1]))
    assert one.shape == (1, 3, 8, 8)
    assert _is_inside(threat, one, images[:1])
    calls.clear()
    none = PGD(steps=2)(loss, images[:0], threat, _draws(images[:0]))
    assert none.shape == (0, 3, 8, 8)
    assert calls == []


@pytest.mark.parametrize("attack", [PGD(steps=2), PGD(steps=2, keep_best=False), FGSM()])
def test_the_result_is_a_tensor_of_its_own_without_gradient(attack: PGD, images: Tensor) -> None:
    x = images.clone().requires_grad_()
    with torch.no_grad():
        inside = attack(_waves(0), x, Linf("8/255"), _draws(x))
    outside = attack(_waves(0), x, Linf("8/255"), _draws(x))
    for found in (inside, outside):
        assert not found.requires_grad
        assert found.data_ptr() != x.data_ptr()
    assert torch.equal(inside, outside)
    assert torch.equal(x.detach(), images)
    assert x.grad is None


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ({"steps": 0}, "0 steps and 1 restarts"),
        ({"restarts": 0}, "10 steps and 0 restarts"),
        ({"step_size": 0.0}, "step size 0.0"),
        ({"step_size": -0.1}, "step size -0.1"),
        ({"step_size": math.nan}, "step size nan"),
    ],
)
def test_settings_that_can_not_work_are_refused(arguments: dict[str, float], seen: str) -> None:
    make: Callable[..., PGD] = PGD
    with pytest.raises(InputError) as caught:
        make(**arguments)
    assert caught.value.seen == seen


def test_draws_of_another_number_of_examples_are_refused(images: Tensor) -> None:
    """One draw for sixteen images would broadcast: every image the same start, without a word."""
    for ids in (1, 15, 17):
        with pytest.raises(InputError, match=f"draws for {ids} examples and 16 images"):
            PGD()(_waves(0), images, Linf("8/255"), Draws(0, torch.arange(ids)))


def test_images_of_another_type_are_refused(images: Tensor) -> None:
    for dtype in (torch.bfloat16, torch.float64):
        with pytest.raises(InputError, match="float32"):
            PGD()(_waves(0), images.to(dtype), Linf("8/255"), _draws(images))


def test_an_attack_works_inside_inference_mode(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Evaluation code often stands under inference_mode; gradients are the attack's own business."""
    loss = CrossEntropy(network.eval(), labels)
    draws = Draws(0, torch.arange(len(images)))
    outside = PGD(steps=3)(loss, images, Linf("0.1"), draws)
    with torch.inference_mode():
        inside = PGD(steps=3)(loss, images.clone(), Linf("0.1"), draws)
    assert torch.equal(inside, outside)
    assert not torch.equal(outside, images)
