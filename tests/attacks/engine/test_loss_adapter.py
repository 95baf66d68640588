"""The interface of attacks to losses: value, verdict and gradient of each form against plain autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harden.attacks.engine.loss_adapter import LossAdapter, judged_gradient
from harden.losses import CrossEntropy, FastCopyLoss, Loss, LossFunction, Margin
from tests.attacks.own_loss import OwnLoss

pytestmark = pytest.mark.usefixtures("rng_untouched")

WEIGHT = torch.randn(4, 192, generator=torch.Generator().manual_seed(3))


class Cubic(OwnLoss):
    """sum x^3, wrong above a limit, without a closed form."""

    def __init__(self, limit: Tensor) -> None:
        self.limit = limit

    def __call__(self, x: Tensor) -> Tensor:
        return (x**3).flatten(1).sum(1)

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = self(x)
        return value, value.detach() > self.limit

    def take(self, index: Tensor) -> Cubic:
        return Cubic(self.limit[index])


def classify(x: Tensor) -> Tensor:
    return x.flatten(1) @ WEIGHT.T


def flipped(x: Tensor) -> Tensor:
    """A classifier with other classes."""
    return classify(x).flip(1)


def by_autograd(loss: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    point = x.clone().requires_grad_()
    value = loss(point)
    (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), gradient


@pytest.mark.parametrize("kind", [CrossEntropy, Margin, "own"])
def test_value_verdict_and_gradient_are_those_of_the_loss(
    kind: type[CrossEntropy] | type[Margin] | str, images: Tensor, labels: Tensor
) -> None:
    loss: Loss = Cubic(torch.linspace(20, 60, 16)) if isinstance(kind, str) else kind(classify, labels)
    point, gradient = LossAdapter(loss).point_and_gradient(images)
    value, expected = by_autograd(loss, images)
    torch.testing.assert_close(point.value, value)
    torch.testing.assert_close(gradient, expected)
    wrong = loss.judged(images)[1]
    assert 0 < int(wrong.sum()) < 16
    assert torch.equal(point.wrong, wrong)
    again, same = judged_gradient(loss, images)
    assert torch.equal(again.wrong, wrong)
    torch.testing.assert_close(same, expected)


def test_a_plain_function_has_no_errors_and_no_parts(images: Tensor) -> None:
    def loss(x: Tensor) -> Tensor:
        return x.square().flatten(1).sum(1)

    adapter = LossAdapter(loss)
    point, gradient = adapter.point_and_gradient(images)
    torch.testing.assert_close(gradient, 2 * images)
    assert torch.equal(adapter.look(images).value, loss(images))
    assert not point.wrong.any()
    assert (adapter.judges, adapter.on_fast_copy) == (False, False)
    assert adapter.take(torch.tensor([1])) is adapter


def test_gradients_and_claims_are_the_fast_copys_and_verdicts_the_networks(
    images: Tensor, labels: Tensor
) -> None:
    fast, exact = Margin(classify, labels), Margin(flipped, labels)
    adapter = LossAdapter(FastCopyLoss(fast, exact))
    assert (adapter.judges, adapter.on_fast_copy) == (True, True)
    point, gradient = adapter.point_and_gradient(images)
    torch.testing.assert_close(gradient, by_autograd(fast, images)[1])
    for found, loss in ((point, fast), (adapter.look(images), fast), (adapter.exactly(images), exact)):
        torch.testing.assert_close(found.value, loss(images))
        assert torch.equal(found.wrong, loss.judged(images)[1])
    assert not torch.equal(adapter.look(images).wrong, adapter.exactly(images).wrong)


def test_without_gradients_they_are_zeros_and_the_value_is_the_same(images: Tensor, labels: Tensor) -> None:
    loss = Margin(classify, labels)
    point, gradient = LossAdapter(loss, gradient=False).point_and_gradient(images)
    assert gradient.tolist() == [0.0] * 16
    torch.testing.assert_close(point.value, loss(images))


@pytest.mark.parametrize("fast", [False, True])
def test_a_part_is_of_the_examples_at_its_positions(fast: bool, images: Tensor, labels: Tensor) -> None:
    loss: LossFunction = Margin(classify, labels)
    if fast:
        loss = FastCopyLoss(Margin(flipped, labels), Margin(classify, labels))
    index = torch.tensor([9, 2, 4])
    part = LossAdapter(loss).take(index)
    whole = Margin(classify, labels)(images)[index]
    torch.testing.assert_close(part.exactly(images[index]).value, whole)
