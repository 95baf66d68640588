"""Training under Gaussian noise: what the network sees, and the loss on it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.data import Batch
from harden.errors import InputError
from harden.models import Classifier
from harden.objectives import GaussianAugmentation, Standard, Step
from harden.objectives.objective import ClassifierState
from harden.threats import L2, Linf
from harden.views import Views


def seen_by(
    model: Classifier, objective: GaussianAugmentation, batch: Batch, step: Step
) -> tuple[Tensor, Tensor]:
    """The loss, and the images that the network sees."""
    seen: list[Tensor] = []
    original = model.logits

    def logits(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return original(x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "logits", logits)
        value = objective(objective.start(model, 12), batch, step)
    assert len(seen) == 1
    return value, seen[0]


def large(n: int = 40) -> tuple[Classifier, Batch]:
    """A network and n images of 3 x 32 x 32, black on the left and white on the right."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)))
    x = torch.zeros(n, 3, 32, 32)
    x[..., 16:] = 1.0
    return model, Batch(x, torch.arange(n) % 3, torch.arange(n))


@pytest.mark.parametrize("sigma", [0.12, 0.25, 1.0])
def test_the_noise_is_normal_of_this_deviation_and_is_not_clipped(step: Step, sigma: float) -> None:
    model, batch = large()
    _, x = seen_by(model, GaussianAugmentation(sigma), batch, step)
    noise = (x - batch.x) / sigma
    count = noise.numel()
    assert abs(float(noise.mean())) < 5 / count**0.5
    assert abs(float(noise.std()) - 1) < 5 / (2 * count) ** 0.5
    # Half of it leaves the box at both of its ends, where Cohen et al.'s radius wants it to.
    outside = (x < 0) | (x > 1)
    assert 0.45 < float(outside.float().mean()) < 0.55 or sigma == 1.0
    for quantile in (-2.0, -1.0, 0.0, 1.0, 2.0):
        expected = float(torch.special.ndtr(torch.tensor(quantile)))
        assert float((noise < quantile).float().mean()) == pytest.approx(expected, abs=0.01)
    # No two pixels of an image, nor the same pixel of two images, have the same noise.
    flat = noise.flatten(1)
    assert abs(float((flat[:, :-1] * flat[:, 1:]).mean())) < 0.02
    assert abs(float((flat[:-1] * flat[1:]).mean())) < 0.02


def test_the_loss_is_the_cross_entropy_at_the_noisy_images(
    model: Classifier, batch: Batch, step: Step
) -> None:
    model.eval()
    objective = GaussianAugmentation(label_smoothing=0.3, class_weights=(0.5, 0.0, 2.5))
    value, x = seen_by(model, objective, batch, step)
    expected = batch.x + 0.25 * step.draws(batch.index).normal((1, 6, 6))
    torch.testing.assert_close(x, expected)
    target = 0.7 * functional.one_hot(batch.y, 3) + 0.1
    weight = torch.tensor([0.5, 0.0, 2.5])[batch.y]
    losses = -(target * model.logits(expected).log_softmax(1)).sum(1)
    torch.testing.assert_close(value, (weight * losses).sum() / weight.sum())


def test_without_noise_it_is_plain_training(model: Classifier, batch: Batch, step: Step) -> None:
    model.eval()
    value, x = seen_by(model, GaussianAugmentation(0.0), batch, step)
    assert torch.equal(x, batch.x)
    assert torch.equal(value, Standard()(ClassifierState(model), batch, step))


def test_noise_depends_on_seed_step_and_example_and_on_neither_batch_nor_threat(
    model: Classifier, batch: Batch, step: Step
) -> None:
    _, found = seen_by(model, GaussianAugmentation(), batch, step)
    reverse = torch.arange(11, -1, -1)
    _, turned = seen_by(
        model, GaussianAugmentation(), Batch(batch.x[reverse], batch.y[reverse], batch.index[reverse]), step
    )
    assert torch.equal(turned[reverse], found)
    _, few = seen_by(model, GaussianAugmentation(), Batch(batch.x[3:5], batch.y[3:5], batch.index[3:5]), step)
    assert torch.equal(few, found[3:5])
    for threat in (Linf(0), L2(3)):
        _, same = seen_by(model, GaussianAugmentation(), batch, replace(step, threat=threat))
        assert torch.equal(same, found)
    for other in (replace(step, number=1), replace(step, seed=4)):
        _, apart = seen_by(model, GaussianAugmentation(), batch, other)
        assert not torch.equal(apart, found)


def test_noise_comes_after_the_views(model: Classifier, batch: Batch, step: Step) -> None:
    _, x = seen_by(model, GaussianAugmentation(views=Views(flip=1.0)), batch, step)
    _, plain = seen_by(model, GaussianAugmentation(), batch, step)
    torch.testing.assert_close(x - batch.x.flip(3), plain - batch.x, atol=1e-6, rtol=0)


def test_noise_is_on_pixels_before_the_normalisation(batch: Batch, step: Step) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    plain, normalised = Classifier(copy.deepcopy(network)), Classifier(network, mean=(0.4,), std=(0.1,))
    _, one = seen_by(plain, GaussianAugmentation(), batch, step)
    _, other = seen_by(normalised, GaussianAugmentation(), batch, step)
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GaussianAugmentation(sigma=-0.1), "noise of deviation -0.1"),
        (lambda: GaussianAugmentation(sigma=float("nan")), "noise of deviation nan"),
        (lambda: GaussianAugmentation(sigma=float("inf")), "noise of deviation inf"),
        (lambda: GaussianAugmentation(class_weights=(0.0, 0.0)), "class weights (0.0, 0.0)"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert says in caught.value.seen
    assert caught.value.instead.startswith("write ")
