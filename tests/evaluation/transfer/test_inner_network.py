"""The part inside a network: found behind a layer without a gradient, and none where nothing is masked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harden.evaluation.transfer.inner_network import PartInside
from harden.models import Classifier
from tests.evaluation.transfer.scenes import scene

pytestmark = pytest.mark.usefixtures("rng_untouched")

X = torch.rand(16, 1, 3, 3, generator=torch.Generator().manual_seed(0))


def inner() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3))


class Hard(nn.Module):
    """One-hot classes of the network inside, with a gradient that is zero."""

    def __init__(self, network: nn.Module, shift: int = 0) -> None:
        super().__init__()
        self.network, self.shift = network, shift

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.network(x)
        classes = (z.argmax(1) + self.shift) % 3
        return nn.functional.one_hot(classes, 3).float() + 0 * z


def test_a_network_behind_a_hard_layer_is_found_with_its_normalisation() -> None:
    network = inner()
    part = PartInside().network(scene(Classifier(Hard(network), mean=(0.2,), std=(0.5,)), X))
    assert part is not None
    with torch.no_grad():
        torch.testing.assert_close(part.logits(X), network((X - 0.2) / 0.5))


def test_a_head_on_features_is_used_through_the_networks_forward() -> None:
    class Split(nn.Module):
        """No part takes images to logits."""

        def __init__(self) -> None:
            super().__init__()
            layers = list(inner().children())
            self.body, self.head = nn.Sequential(*layers[:-1]), layers[-1]

        def forward(self, x: Tensor) -> Tensor:
            z: Tensor = self.head(self.body(x))
            return nn.functional.one_hot(z.argmax(1), 3).float() + 0 * z

    part = PartInside().network(scene(Classifier(Split()), X))
    assert part is not None
    with torch.no_grad():
        torch.testing.assert_close(part.logits(X), inner()(X))


@pytest.mark.parametrize("network", [inner(), nn.Sequential(inner()), Hard(inner(), shift=1)])
def test_there_is_none_where_nothing_is_masked_or_other_classes_are_predicted(network: nn.Module) -> None:
    assert PartInside().network(scene(Classifier(network), X)) is None
