"""Graphs on the weights of a network as they are at the moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from harden.errors import InputError
from harden.graph.live_weights import LiveGraph
from harden.graph.operators.affine_layers import BatchNormalization
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.models.snapshot import tensors_of

SHAPE = (1, 8, 8)


class Unusual(nn.Module):
    """A dense layer without a bias before a BatchNorm, one on maps, a shared weight, a lonely BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, stride=2)
        self.alone = nn.BatchNorm2d(4)
        self.rows = nn.Linear(3, 3, bias=False)
        self.dense = nn.Linear(36, 8, bias=False)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 3)
        self.again = nn.Linear(8, 3)
        self.again.weight = self.head.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.rows(self.alone(functional.relu(self.first(x))))
        x = functional.relu(self.norm(self.dense(x.flatten(1))))
        found: Tensor = self.head(x) + self.again(x)
        return found


class Twice(nn.Module):
    """Goes through one BatchNorm twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(1), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.norm(functional.relu(self.norm(x))).flatten(1))
        return found


def seeded(network: type[nn.Module]) -> Classifier:
    torch.manual_seed(0)
    return Classifier(network(), mean=(0.4,), std=(0.3,))


@pytest.fixture(scope="module")
def unusual() -> LiveGraph:
    return LiveGraph.of(seeded(Unusual), SHAPE)


def moved(model: Classifier) -> Classifier:
    with torch.no_grad():
        for each in tensors_of(model).values():
            if each.is_floating_point():
                each.mul_(1 + 0.5 * torch.rand(each.shape))
    return model


def test_gives_the_logits_of_weights_that_moved_with_their_gradients(unusual: LiveGraph) -> None:
    model, x = moved(seeded(Unusual)).eval(), torch.rand(5, *SHAPE)
    found = unusual.graph.run(x, unusual.constants(model))
    expected = model.logits(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weights = list(model.parameters())
    ours = torch.autograd.grad(found.square().sum(), weights)
    theirs = torch.autograd.grad(expected.square().sum(), weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_follows_the_statistics_of_a_batch_and_their_gradients(unusual: LiveGraph) -> None:
    model, x = moved(seeded(Unusual)).train(), torch.rand(5, *SHAPE)
    with unusual.observed(model) as statistics:
        expected = model.logits(x)
    assert len(statistics) == 4
    found = unusual.graph.run(x, unusual.constants(model, statistics))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weights = list(model.parameters())
    # The statistics come from the same forward.
    ours = torch.autograd.grad(found.square().sum(), weights, retain_graph=True)
    theirs = torch.autograd.grad(expected.square().sum(), weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_observes_no_norm_that_is_held_still(unusual: LiveGraph) -> None:
    model = seeded(Unusual).train()
    model.network.get_submodule("norm").eval()
    with unusual.observed(model) as statistics:
        model.logits(torch.rand(5, *SHAPE))
    assert len(statistics) == 2


def test_norms_behind_a_layer_are_taken_in(unusual: LiveGraph) -> None:
    norms = [node for node in unusual.graph.nodes if isinstance(node.operation, BatchNormalization)]
    assert len(norms) == 1
    assert len(unusual.norms) == 2
    found = LiveGraph.of(Classifier(small_cnn()), SHAPE)
    assert not any(isinstance(node.operation, BatchNormalization) for node in found.graph.nodes)


def test_leaves_the_network_as_it_is() -> None:
    model, same = seeded(Unusual).train(), tensors_of(seeded(Unusual))
    LiveGraph.of(model, SHAPE)
    assert all(torch.equal(each, same[name]) for name, each in tensors_of(model).items())
    assert all(part.training for part in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_refuses_a_norm_that_is_passed_twice() -> None:
    with pytest.raises(InputError, match=r"BatchNorm 'network.norm', through which images pass twice"):
        LiveGraph.of(seeded(Twice), SHAPE)


class Doubled(nn.Module):
    """A parametrization: the weight in use is another than the parameter."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def test_follows_weights_that_are_computed_from_others() -> None:
    torch.manual_seed(0)
    dense = nn.Linear(64, 3)
    parametrize.register_parametrization(dense, "weight", Doubled())
    model, x = Classifier(nn.Sequential(nn.Flatten(), dense)), torch.rand(5, *SHAPE)
    found = LiveGraph.of(model, SHAPE)
    assert found.graph.derived
    logits = found.graph.run(x, found.constants(moved(model)))
    torch.testing.assert_close(logits, model.logits(x))
    original = dict(dense.named_parameters())["parametrizations.weight.original"]
    (gradient,) = torch.autograd.grad(logits.sum(), [original])
    assert bool(gradient.all())


class Sine(nn.Module):
    """The sine of a weight."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.sin()


def test_refuses_weights_that_are_computed_by_what_has_no_rule() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    parametrize.register_parametrization(network[1], "weight", Sine())
    with pytest.raises(InputError, match=r"Sin \(no rule\)"):
        LiveGraph.of(Classifier(network), SHAPE)


def test_weights_of_norm_one_times_a_length_are_followed() -> None:
    network = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 3)))
    model = Classifier(network)
    live = LiveGraph.of(model, SHAPE)
    constants, x = live.constants(model), torch.rand(2, *SHAPE)
    torch.testing.assert_close(live.graph.run(x, constants), model(x), rtol=1e-4, atol=1e-5)


def test_refuses_a_graph_that_does_not_follow_its_weights(unusual: LiveGraph) -> None:
    with pytest.raises(InputError, match="does not follow its weights"):
        replace(unusual, weights={})._check(seeded(Unusual), SHAPE)
