"""MI-FGSM against the paper's loop written by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import MIFGSM, PGD
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import CrossEntropy
from harden.models import Classifier, frozen
from harden.threats import L2, Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

BALLS = pytest.mark.parametrize("threat", [Linf("8/255"), L2("1/2")], ids=repr)


@BALLS
@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_it_is_the_loop_of_the_paper(
    threat: Linf | L2, decay: float, network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    model, steps = Classifier(network.double()), 5
    eps = float(threat.eps)
    with frozen(model):
        loss = CrossEntropy(model.logits, labels)
        found = MIFGSM(steps=steps, decay=decay, stop_early=False)(
            lambda x: loss(x), images, threat, Draws(0, torch.arange(16))
        )
        x, now, momentum = images.double(), images.double(), torch.zeros_like(images, dtype=torch.float64)
        points = [now]
        for _ in range(steps):
            point = now.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(point).sum(), point)
            momentum = decay * momentum + gradient / gradient.flatten(1).abs().sum(1).view(-1, 1, 1, 1)
            if isinstance(threat, Linf):
                now = now + eps / steps * momentum.sign()
                now = torch.minimum(torch.maximum(now, x - eps), x + eps)
            else:
                now = now + eps / steps * momentum / momentum.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
                delta = now - x
                now = x + delta * (eps / delta.flatten(1).norm(dim=1)).clamp(max=1).view(-1, 1, 1, 1)
            now = now.clamp(0, 1)
            points.append(now)
        best = torch.stack([loss(point) for point in points]).argmax(0)
    expected = torch.stack(points)[best, torch.arange(16)]
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-5)


def test_without_decay_it_is_pgd_from_the_image(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    model, draws = Classifier(network), Draws(0, torch.arange(16))
    with frozen(model):
        loss = CrossEntropy(model.logits, labels)
        momentum = MIFGSM(steps=4, decay=0.0)(loss, images, Linf("8/255"), draws)
        plain = PGD(steps=4, step_size=0.25, random_start=False)(loss, images, Linf("8/255"), draws)
    assert torch.equal(momentum, plain)


@BALLS
def test_gradients_that_are_no_numbers_do_not_poison_it(threat: Linf | L2, images: Tensor) -> None:
    weight = torch.ones(3, 8, 8)
    weight[1] = math.nan

    def loss(x: Tensor) -> Tensor:
        # The value is finite, the gradient of channel 1 is not.
        return (x * weight).flatten(1).nansum(1)

    found = MIFGSM(steps=4)(loss, images, threat, Draws(0, torch.arange(16)))
    assert bool(found.isfinite().all())
    assert bool(threat.contains(found, images).all())
    assert float((found[:, 0] - images[:, 0]).max()) > 0.01


def test_settings_that_can_not_work_are_refused(images: Tensor) -> None:
    with pytest.raises(InputError, match="0 steps"):
        MIFGSM(steps=0)
    with pytest.raises(InputError, match="decay -1"):
        MIFGSM(decay=-1.0)
    with pytest.raises(InputError, match="step size 0"):
        MIFGSM(step_size=0.0)
    with pytest.raises(InputError, match="draws for 2"):
        MIFGSM()(lambda x: x.flatten(1).sum(1), images, Linf("0.1"), Draws(0, torch.arange(2)))
    none = MIFGSM()(lambda x: x.flatten(1).sum(1), images[:0], Linf("0.1"), Draws(0, torch.arange(0)))
    assert len(none) == 0
