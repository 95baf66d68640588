"""CutMix: rectangles and shares pixel by pixel, draws of each image, and the loss by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harden.attacks import PGD
from harden.data import Batch
from harden.errors import InputError
from harden.models import Classifier
from harden.objectives import AWP, AdversarialTraining, MultiNorm, Step
from harden.objectives.cutmix import MixedImages, cutmix
from harden.threats import L2
from harden.views import Views

SHORT = PGD(steps=2, step_size=0.75, keep_best=False)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(n: int = 60, height: int = 12, width: int = 9) -> Tensor:
    """Images of two channels, all of whose pixels are the number of the image, and its negative."""
    number = torch.arange(n).float().view(n, 1, 1, 1).expand(n, 1, height, width)
    return torch.cat((number, -number), 1)


def test_what_an_image_gets_is_a_rectangle_of_one_other_in_its_place() -> None:
    x, y = numbered(), torch.arange(60)
    found = cutmix(x, y, 1.0, generator())
    assert torch.equal(found.x[:, 0], -found.x[:, 1])  # all channels of a pixel come from one image
    for number in range(60):
        foreign = found.x[number, 0] != number
        if found.other[number] == number:
            assert not foreign.any()
            continue
        assert {*found.x[number, 0][foreign].tolist()} <= {float(found.other[number])}
        rows, columns = foreign.any(1).nonzero().flatten(), foreign.any(0).nonzero().flatten()
        assert int(foreign.sum()) == len(rows) * len(columns)  # a full rectangle
        if len(rows):
            assert bool((rows.diff() == 1).all() and (columns.diff() == 1).all())
        assert float(found.share[number]) == pytest.approx(1 - float(foreign.float().mean()), abs=1e-6)
    assert torch.equal(found.y, y)


def test_pixels_keep_their_places() -> None:
    x = torch.rand(30, 3, 8, 8, generator=generator(1))
    found = cutmix(x, torch.arange(30), 1.0, generator())
    own = (found.x == x).all(1)
    assert torch.equal(found.x, torch.where(own[:, None], x, x[found.other]))
    assert bool((~own).any())


def test_shares_and_partners_are_spread_over_their_ranges() -> None:
    found = cutmix(numbered(4000), torch.arange(4000), 1.0, generator())
    share = found.share
    assert float(share.min()) < 0.1
    assert float(share.max()) > 0.98
    # Half of the image at most in the mean, and less where the rectangle is cut off at the rim.
    assert 0.5 < float(share.mean()) < 0.75
    assert len({*found.other.tolist()}) > 2300  # of 4000 draws with repetition about 0.63
    assert abs(float(found.other.float().mean()) - 2000) < 60


@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_an_image_is_mixed_with_this_probability(probability: float) -> None:
    x = torch.rand(2000, 1, 6, 6, generator=generator(1))
    found = cutmix(x, torch.arange(2000), probability, generator())
    same = (found.x == x).flatten(1).all(1)
    if probability == 0:
        assert torch.equal(found.x, x)
        assert bool((found.share == 1).all())
    else:
        assert 0.2 < float((~same).float().mean()) <= 0.34
    assert bool((found.share[same] == 1).float().mean() > 0.99)


def test_draws_are_of_the_generator_alone_and_leave_the_images(rng_untouched: None) -> None:
    x = numbered()
    before = x.clone()
    one, again = (cutmix(x, torch.arange(60), 0.7, generator(3)) for _ in range(2))
    other = cutmix(x, torch.arange(60), 0.7, generator(4))
    assert torch.equal(one.x, again.x)
    assert torch.equal(one.share, again.share)
    assert not torch.equal(one.x, other.x)
    assert torch.equal(x, before)


# The loss


@pytest.mark.parametrize("weights", [(), (0.5, 0.0, 2.5)])
def test_the_loss_is_the_cross_entropy_of_the_mixed_labels(weights: tuple[float, ...]) -> None:
    logits = torch.randn(12, 3, generator=generator(), requires_grad=True)
    y, other = torch.arange(12) % 3, torch.arange(12).flip(0) % 3
    share = torch.rand(12, generator=generator(1))
    mixed = MixedImages(torch.zeros(12, 1, 2, 2), y, other, share)
    value = mixed.cross_entropy(logits, weights, 0.2)
    total, expected = 0.0, torch.zeros(())
    for labels, part in ((y, share), (other, 1 - share)):
        weight = part * torch.tensor(weights or (1.0, 1.0, 1.0))[labels]
        target = 0.8 * functional.one_hot(labels, 3) + 0.2 / 3
        expected = expected - (weight * (target * logits.log_softmax(1)).sum(1)).sum()
        total += float(weight.sum())
    torch.testing.assert_close(value, expected / total)
    if not weights:
        target = share[:, None] * functional.one_hot(y, 3) + (1 - share)[:, None] * functional.one_hot(
            other, 3
        )
        soft = functional.cross_entropy(logits, target, label_smoothing=0.2)
        torch.testing.assert_close(value, soft)
    loss = mixed.attacked(lambda x: logits)(mixed.x)
    target = share[:, None] * functional.one_hot(y, 3) + (1 - share)[:, None] * functional.one_hot(other, 3)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, target, reduction="none"))


def value_of(objective: AdversarialTraining, model: Classifier, batch: Batch, step: Step) -> Tensor:
    return objective(objective.start(model, 12).eval(), batch, step)


def test_adversarial_training_attacks_and_trains_on_the_mixed_images(
    model: Classifier, batch: Batch, step: Step
) -> None:
    model.eval()
    drawn = step.generator.get_state()
    views = Views(flip=1.0)
    objective = AdversarialTraining(SHORT, views=views, label_smoothing=0.1, steering=None, cutmix=0.8)
    value = value_of(objective, model, batch, step)
    step.generator.set_state(drawn)
    mixed = cutmix(views(batch.x, step.generator), batch.y, 0.8, step.generator)
    assert bool((mixed.share < 1).any())
    target = mixed.share[:, None] * functional.one_hot(mixed.y, 3)
    target = target + (1 - mixed.share)[:, None] * functional.one_hot(mixed.other, 3)
    x_adv = SHORT(
        lambda x: functional.cross_entropy(model.logits(x), target, reduction="none"),
        mixed.x,
        step.threat,
        step.draws(batch.index),
    )
    expected = functional.cross_entropy(model.logits(x_adv), target, label_smoothing=0.1)
    torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)


def test_around_it_awp_and_multi_norm_see_the_same_mixture(
    model: Classifier, batch: Batch, step: Step
) -> None:
    model.eval()
    drawn = step.generator.get_state()
    inner = AdversarialTraining(SHORT, steering=None, cutmix=1.0)
    plain = value_of(inner, model, batch, step)
    for objective in (AWP(inner, 1e-30, 0.0), MultiNorm(inner, (step.threat,), "average")):
        step.generator.set_state(drawn)
        value = objective(objective.start(model, 12).eval(), batch, step)
        torch.testing.assert_close(value, plain)
    step.generator.set_state(drawn)
    both = MultiNorm(inner, (L2("1/2"),))
    assert both(both.start(model, 12).eval(), batch, step) >= plain - 1e-6


def test_without_it_nothing_is_drawn(model: Classifier, batch: Batch, step: Step) -> None:
    before = step.generator.get_state()
    value_of(AdversarialTraining(SHORT), model, batch, step)
    assert torch.equal(step.generator.get_state(), before)
    other = replace(step, generator=generator(9))
    first = value_of(AdversarialTraining(SHORT), model.eval(), batch, step)
    assert torch.equal(value_of(AdversarialTraining(SHORT), model.eval(), batch, other), first)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_out_of_its_range_is_refused(probability: float) -> None:
    with pytest.raises(InputError, match=r"cutmix .*a probability in \[0, 1\]; write Adv"):
        AdversarialTraining(cutmix=probability)
