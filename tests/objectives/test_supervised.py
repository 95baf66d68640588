"""Plain training and the linear probe: their losses, and the parameters that they reach."""

from __future__ import annotations

import torch
from torch import nn

from harden.data import Batch
from harden.models import Classifier
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
