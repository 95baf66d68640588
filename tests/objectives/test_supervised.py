"""Plain training and the linear probe: their losses, and the parameters that they reach."""

from __future__ import annotations

import torch
from torch import nn

from harden.attacks import PGD
from harden.data import Batch
from harden.losses import CrossEntropy
from harden.models import Classifier, PassMeter, counting, frozen
from harden.objectives import (
    LinearProbe,
    Standard,
    Step,
)
from harden.views import Views


def test_standard_is_the_cross_entropy_of_the_views(model: Classifier, batch: Batch, step: Step) -> None:
    model.eval()
    flipped = Standard(views=Views(flip=1.0))
    value = flipped(flipped.start(model, 12).eval(), batch, step)
    log_p = model.logits(batch.x.flip(3)).log_softmax(1)
    torch.testing.assert_close(value, -log_p[torch.arange(12), batch.y].mean())


def test_linear_probe_reaches_the_head_alone(model: Classifier, batch: Batch, step: Step) -> None:
    objective = LinearProbe()
    state = objective.start(model, 12).train()
    assert [part for part in model.modules() if part.training] == []
    buffers = [value.clone() for value in model.buffers()]
    value = objective(state, batch, step)
    torch.autograd.backward(value)
    head = list(model.head.parameters())
    assert all(weight.grad is not None for weight in head)
    others = [weight for weight in model.parameters() if all(weight is not mine for mine in head)]
    assert all(weight.grad is None for weight in others)
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
    # The value is that of the whole network in inference mode.
    model.eval()
    torch.testing.assert_close(value, nn.functional.cross_entropy(model.logits(batch.x), batch.y))


def test_an_attacked_probe_trains_the_head_on_attacked_images(
    model: Classifier, batch: Batch, step: Step
) -> None:
    """Oracle: the attack on the whole network in inference mode, then the head's cross-entropy."""
    attack = PGD(steps=3, step_size=0.5, keep_best=False)
    model.eval()
    with frozen(model):
        x = attack(CrossEntropy(model.logits, batch.y), batch.x, step.threat, step.draws(batch.index))
    assert not torch.equal(x, batch.x)
    expected = nn.functional.cross_entropy(model.logits(x), batch.y).detach()
    model.train()
    objective = LinearProbe(attack=attack)
    state = objective.start(model, 12).train()
    value = objective(state, batch, step)
    torch.testing.assert_close(value.detach(), expected)
    torch.autograd.backward(value)
    head = list(model.head.parameters())
    assert all(weight.grad is not None and weight.requires_grad for weight in head)
    others = [weight for weight in model.parameters() if all(weight is not mine for mine in head)]
    assert all(weight.grad is None and not weight.requires_grad for weight in others)


def test_a_plain_probe_makes_a_forward_and_an_attacked_one_the_passes_of_its_attack(
    model: Classifier, batch: Batch, step: Step
) -> None:
    costs = []
    for attack in (None, PGD(steps=3, step_size=0.5, keep_best=False)):
        objective, meter = LinearProbe(attack=attack), PassMeter()
        with counting(meter):
            objective(objective.start(model, 12).train(), batch, step)
        costs.append(meter.passes)
    assert costs[1] - costs[0] == 3 * len(batch)
