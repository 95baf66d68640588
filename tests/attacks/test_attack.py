"""The gradient that attacks climb, and the errors for losses that have none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import PGD
from harden.attacks.attack import loss_and_gradient
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import CrossEntropy
from harden.threats import Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")


def test_values_and_gradients_are_those_of_each_example_alone(images: Tensor) -> None:
    def loss(x: Tensor) -> Tensor:
        return x.flatten(1).square().sum(1)

    with torch.no_grad():
        value, gradient = loss_and_gradient(loss, images)
    torch.testing.assert_close(value, images.flatten(1).square().sum(1))
    torch.testing.assert_close(gradient, 2 * images)
    assert not value.requires_grad
    assert not gradient.requires_grad
    assert not images.requires_grad


def test_no_gradient_reaches_the_parameters(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    _, gradient = loss_and_gradient(CrossEntropy(network.eval(), labels), images)
    assert bool((gradient != 0).any())
    assert any(weight.requires_grad for weight in network.parameters())
    assert all(weight.grad is None for weight in network.parameters())


REDUCED: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (lambda x: x.mean(), "()"),
    (lambda x: x.flatten(1).sum(1, keepdim=True), "(16, 1)"),
    (lambda x: x.flatten(1), "(16, 192)"),
    (lambda x: x[:8].flatten(1).sum(1), "(8,)"),
]


@pytest.mark.parametrize(("loss", "shape"), REDUCED, ids=[shape for _, shape in REDUCED])
def test_a_loss_that_is_not_per_example_is_refused(
    loss: Callable[[Tensor], Tensor], shape: str, images: Tensor
) -> None:
    with pytest.raises(InputError) as caught:
        PGD(steps=1)(loss, images, Linf("8/255"), Draws(0, torch.arange(16)))
    assert caught.value.seen == f"a loss of shape {shape} for 16 examples"
    assert caught.value.expected == "one value per example, shape (16,)"
    assert caught.value.instead == 'use reduction="none"'


def test_a_loss_that_the_image_does_not_reach_is_refused(
    network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    """With trainable weights the loss requires a gradient though the image has no part in it."""
    network.eval()

    def forward_without_grad(x: Tensor) -> Tensor:
        with torch.no_grad():
            return functional.cross_entropy(network(x), labels, reduction="none")

    losses: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.detach().flatten(1).sum(1),
        lambda x: functional.cross_entropy(network(x.detach()), labels, reduction="none"),
        lambda x: functional.cross_entropy(
            network(torch.from_numpy(x.detach().numpy())), labels, reduction="none"
        ),
        lambda x: functional.cross_entropy(network(x), labels, reduction="none").detach(),
        lambda x: torch.zeros(len(x)),
        forward_without_grad,
    ]
    for loss in losses:
        with pytest.raises(InputError, match="a loss that does not depend on the image") as caught:
            PGD(steps=1)(loss, images, Linf("8/255"), Draws(0, torch.arange(16)))
        assert caught.value.instead.startswith("remove detach()")
