"""RayS: by labels alone, each direction against a search written by hand, exact membership, any batch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.attacks import PGD, RayS
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import FastCopyLoss, Labels, Margin
from harden.models import Classifier, frozen
from harden.threats import L1, L2, Linf
from tests.attacks.limited_sum import SHAPES, Above, draws_for, limited_sums

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2 | L1
BALLS = pytest.mark.parametrize("threat", [Linf("1/10"), L2("1"), L1(6), Linf("1/5", (-1.0, 1.0))], ids=repr)


def test_on_a_linear_network_it_finds_the_nearest_error() -> None:
    """Where no box is in the way the L-inf distance is the margin over |w|_1, in direction sign(w)."""
    x, loss = limited_sums(8, (1, 4, 4), seed=5)
    room = loss.limit - (loss.w * x).double().flatten(1).sum(1)
    truth = room / float(loss.w.abs().sum())
    free = truth < 0.08
    found = RayS(queries=1500).nearest(loss, x, Linf("1/10"), draws_for(x))
    assert int(free.sum()) >= 3
    assert float((found.distance / truth)[free].max()) < 1.05
    assert bool((found.distance > truth * (1 - 1e-6)).all())
    assert bool(loss.judged(found.x_adv)[1].all())


@given(
    seed=st.integers(0, 2000),
    queries=st.tuples(st.integers(1, 60), st.integers(0, 60)),
    kind=st.sampled_from([Linf, L2, L1]),
    eps=st.sampled_from(["0", "1/50", "1/5", "1"]),
    stop=st.booleans(),
    shape=st.sampled_from(SHAPES),
)
def test_a_result_is_an_error_in_ball_and_box_or_the_image(
    seed: int,
    queries: tuple[int, int],
    kind: type[Linf] | type[L2] | type[L1],
    eps: str,
    stop: bool,
    shape: tuple[int, ...],
) -> None:
    x, loss = limited_sums(4, shape, seed)
    threat, before = kind(eps), x.clone()
    found = RayS(queries=queries[0], stop_early=stop)(loss, x, threat, draws_for(x))
    assert torch.equal(x, before)
    assert bool(threat.contains(found, x).all())
    wrong = loss.judged(found)[1]
    assert torch.equal(found[~wrong], x[~wrong])
    if not stop:
        nearest = RayS(queries=queries[0]).nearest(loss, x, threat, draws_for(x))
        assert bool((wrong | (nearest.distance > float(threat.eps) * (1 - 1e-6))).all())
        assert bool((threat.size(nearest.x_adv - x)[nearest.distance.isfinite()] >= 0).all())
        more = RayS(queries=sum(queries)).nearest(loss, x, threat, draws_for(x))
        assert bool((more.distance <= nearest.distance).all())
    more_wrong = loss.judged(RayS(queries=sum(queries), stop_early=stop)(loss, x, threat, draws_for(x)))[1]
    assert bool((more_wrong | ~wrong).all())


@BALLS
def test_an_example_takes_the_same_way_in_any_batch(threat: Ball) -> None:
    x, loss = limited_sums(40, (3, 4, 4), seed=2)
    attack = RayS(queries=120)
    whole = attack(loss, x, threat, draws_for(x))
    assert loss.queried[0] == 40
    assert len(loss.queried) >= 20
    if not isinstance(threat, L1):
        assert sum(loss.queried) < 0.95 * 40 * len(loss.queried)
        assert int(loss.judged(whole)[1].sum()) > 3
    for rows in (torch.tensor([4]), torch.tensor([39, 1, 0])):
        assert torch.equal(attack(loss.take(rows), x[rows], threat, draws_for(x).take(rows)), whole[rows])


def test_classes_alone_break_a_network_that_hides_its_gradient(network: nn.Module, images: Tensor) -> None:
    model = Classifier(network)
    with frozen(model), torch.no_grad():
        y = model.logits(images).argmax(1)

        def masked(x: Tensor) -> Tensor:
            logits = model.logits(x)
            hard = nn.functional.one_hot(logits.argmax(1), 4).float()
            return hard + 0 * logits  # a gradient there is, and it is zero

        labels = Labels(lambda x: model.logits(torch.from_numpy(x)).argmax(1).numpy(), y)
        by_pgd = PGD(steps=20)(Margin(masked, y), images, Linf("1/10"), draws_for(images))
        by_rays = RayS(queries=400)(labels, images, Linf("1/10"), draws_for(images))
        by_scores = RayS(queries=400)(Margin(model.logits, y), images, Linf("1/10"), draws_for(images))
        assert int(labels.judged(by_rays)[1].sum()) >= int(labels.judged(by_pgd)[1].sum()) + 5
    assert torch.equal(by_rays, by_scores)


@pytest.mark.parametrize("threat", [Linf("1/10"), L2("1")], ids=repr)
def test_a_copy_that_cries_wolf_is_not_believed(threat: Ball) -> None:
    x, loss = limited_sums(10, (3, 4, 4), seed=3)
    truth = Above(loss.w, loss.limit)
    liar, blind, near = (Above(loss.w, loss.limit + by) for by in (-1e9, 1e9, -0.05))
    by_liar = RayS(queries=60)(FastCopyLoss(liar, truth), x, threat, draws_for(x))
    right = ~truth.judged(by_liar)[1]
    assert int(right.sum()) > 3
    assert torch.equal(by_liar[right], x[right])
    assert torch.equal(RayS(queries=60)(FastCopyLoss(blind, truth), x, threat, draws_for(x)), x)
    found = RayS(queries=200).nearest(FastCopyLoss(near, truth), x, threat, draws_for(x))
    met = found.distance.isfinite()
    assert torch.equal(truth.judged(found.x_adv)[1], met)
    exact = RayS(queries=200)(FastCopyLoss(truth, truth), x, threat, draws_for(x))
    assert torch.equal(exact, RayS(queries=200)(truth, x, threat, draws_for(x)))


@BALLS
def test_no_image_and_images_that_are_wrong_already(threat: Ball, images: Tensor) -> None:
    none = RayS().nearest(Labels(lambda x: x, torch.arange(0)), images[:0], threat, draws_for(images[:0]))
    assert none.x_adv.shape == (0, 3, 8, 8)
    assert none.distance.shape == (0,)
    loss = Above(torch.ones(3, 8, 8), torch.full((16,), -1.0).double())
    assert torch.equal(RayS()(loss, images, threat, draws_for(images)), images)
    assert loss.queried == [16]
    assert RayS().nearest(loss, images, threat, draws_for(images)).distance.tolist() == [0.0] * 16


def test_logits_that_are_no_numbers_are_errors(images: Tensor, labels: Tensor) -> None:
    def classify(x: Tensor) -> Tensor:
        z = x.flatten(1)[:, :4] + 5 * nn.functional.one_hot(labels[: len(x)], 4)
        return torch.where(x.flatten(1).sum(1, keepdim=True) > 99, math.nan, z)

    loss = Margin(classify, labels)
    found = RayS(queries=60)(loss, images, Linf("1/10"), draws_for(images))
    assert bool(loss.judged(found)[1].all())
    assert bool(Linf("1/10").contains(found, images).all())


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda: RayS(queries=0), "0 queries and 1 restarts"),
        (lambda: RayS(tolerance=0.0), "tolerance 0.0"),
        (lambda: RayS()(torch.sum, torch.zeros(2, 3), L2("0.1"), Draws(0, torch.arange(2))), "a loss "),
        (lambda: RayS()(torch.sum, torch.zeros(2, 3), L2("0.1"), Draws(0, torch.arange(3))), "draws for"),
    ],
)
def test_what_can_not_work_is_refused(make: object, seen: str) -> None:
    assert callable(make)
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.seen.startswith(seen)
