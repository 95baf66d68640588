"""Random points of the ball: inside it, on its rim by turns, the best of them kept, judged by the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import RandomNoise
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import FastCopyLoss, Margin
from harden.models import Classifier
from harden.threats import L1, L2, Linf, Threat


@pytest.mark.parametrize("threat", [Linf("0.1"), L2("1/2"), L1(2), Linf(0)], ids=repr)
def test_noise_stays_inside_and_depends_on_the_example_alone(
    threat: Threat, network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    model = Classifier(network.eval())
    loss, draws = Margin(model.logits, labels), Draws(0, torch.arange(16))
    found = RandomNoise(6)(loss, images, threat, draws)
    assert bool(threat.contains(found, images).all())
    index = torch.tensor([3, 11])
    part = RandomNoise(6)(loss.take(index), images[index], threat, draws.take(index))
    assert torch.equal(part, found[index])


def test_noise_reaches_the_rim_and_keeps_the_best() -> None:
    x, ids = torch.full((5, 1, 3, 3), 0.5), torch.arange(5)
    seen: list[Tensor] = []

    def loss(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return x.flatten(1).sum(1)

    found = RandomNoise(6)(loss, x, Linf("0.1"), Draws(0, ids))
    assert torch.equal(loss(found), torch.stack([loss(one) for one in seen[:6]]).amax(0))
    rim = [bool(((one - x).abs() > 0.0999).all()) for one in seen[:6]]
    assert rim == [False, True] * 3


def test_noise_asks_the_network_itself() -> None:
    x, y = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(4).long()

    def wrong(x: Tensor) -> Tensor:
        return torch.stack((torch.zeros(len(x)), torch.ones(len(x))), 1)

    def right(x: Tensor) -> Tensor:
        return torch.stack((torch.ones(len(x)), torch.zeros(len(x))), 1)

    loss = FastCopyLoss(Margin(right, y), Margin(wrong, y))
    found = RandomNoise(3)(loss, x, Linf("0.1"), Draws(0, torch.arange(4)))
    assert bool(Margin(wrong, y).judged(found)[1].all())
    with pytest.raises(InputError):
        RandomNoise(0)
