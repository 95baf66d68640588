"""Losses of logits in plain torch: values by their formulas and gradients by autograd, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harden.kernels import loss_grad_reference
from harden.kernels.loss_grad import LossGrad
from tests.kernels.rows_of_logits import LOSSES, random_rows

KINDS = {
    "cross-entropy": loss_grad_reference.CROSS_ENTROPY,
    "margin": loss_grad_reference.MARGIN,
    "dlr": loss_grad_reference.DLR,
    "targeted dlr": loss_grad_reference.TARGETED_DLR,
    "targeted cross-entropy": loss_grad_reference.TARGETED_CROSS_ENTROPY,
    "targeted margin": loss_grad_reference.TARGETED_MARGIN,
}
every_kind = pytest.mark.parametrize("name", KINDS)


def run(name: str, logits: Tensor, y: Tensor, target: Tensor) -> LossGrad:
    out = LossGrad.like(logits)
    loss_grad_reference.loss_grad_(
        out.loss, out.margin, out.wrong, out.dlogits, logits, y, target, KINDS[name]
    )
    return out


@every_kind
def test_values_and_gradients_are_those_of_autograd_rounded_once(name: str) -> None:
    logits, y, target = random_rows(40, 6, 3, 4.0)
    exact = logits.double().requires_grad_()
    value = LOSSES[name][1](exact, y, target)
    (gradient,) = torch.autograd.grad(value.sum(), exact)
    out = run(name, logits, y, target)
    torch.testing.assert_close(out.loss, value.detach().float(), rtol=2e-7, atol=1e-12)
    torch.testing.assert_close(out.dlogits, gradient.float(), rtol=2e-7, atol=1e-9)
    others = logits.scatter(1, y[:, None], -math.inf).amax(1)
    assert torch.equal(out.margin, others - logits.gather(1, y[:, None]).squeeze(1))
    assert torch.equal(out.wrong, logits.argmax(1) != y)


@every_kind
def test_a_row_that_is_no_number_or_no_class_has_no_gradient(name: str) -> None:
    logits, y, target = random_rows(4, 5, 1)
    logits[1, 2], y[2] = math.nan, -1
    out = run(name, logits, y, target)
    assert out.loss.isnan().tolist() == [False, True, True, False]
    assert out.wrong.tolist()[1:3] == [True, True]
    assert out.dlogits[1:3].count_nonzero() == 0
    assert bool((out.dlogits[[0, 3]] != 0).any(1).all())


def test_the_first_of_equal_logits_is_the_answer_and_ties_share_the_gradient() -> None:
    logits = torch.tensor([[2.0, 2.0, 0.0], [1.0, 3.0, 3.0]])
    for label, wrong in ((0, [False, True]), (1, [True, False])):
        assert run("margin", logits, torch.full((2,), label), torch.full((2,), 2)).wrong.tolist() == wrong
    out = run("margin", logits, torch.tensor([0, 0]), torch.tensor([2, 2]))
    assert out.dlogits.tolist() == [[-1.0, 1.0, 0.0], [-1.0, 0.5, 0.5]]
