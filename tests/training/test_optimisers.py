from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from harden.description import describe, restore
from harden.training import SGD, AdamW
from harden.training.optimisers import Optimiser

OPTIMISERS: list[Optimiser] = [SGD(lr=0.2, weight_decay=0.01), AdamW(lr=0.2, weight_decay=0.01)]


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=["sgd", "adamw"])
def test_weight_decay_acts_on_matrices_alone(optimiser: Optimiser) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    network[3].bias.requires_grad_(False)
    groups = optimiser.build(network).param_groups
    decay = {id(weight): group["weight_decay"] for group in groups for weight in group["params"]}
    expected = {
        id(network[0].weight): 0.01,
        id(network[0].bias): 0.0,
        id(network[1].weight): 0.0,
        id(network[1].bias): 0.0,
        id(network[3].weight): 0.01,
    }
    assert decay == expected
    assert {group["lr"] for group in groups} == {0.2}


@pytest.mark.parametrize(
    ("optimiser", "shrinks"),
    [(OPTIMISERS[0], 1.9 * 0.2 * 0.01), (OPTIMISERS[1], 0.2 * 0.01)],  # 1.9: Nesterov's look ahead
    ids=["sgd", "adamw"],
)
def test_a_step_without_gradient_shrinks_matrices_and_leaves_vectors(
    optimiser: Optimiser, shrinks: float
) -> None:
    network = nn.Linear(3, 2)
    before = [weight.detach().clone() for weight in (network.weight, network.bias)]
    built = optimiser.build(network)
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    built.step()
    torch.testing.assert_close(network.weight.detach(), before[0] * (1 - shrinks))
    assert torch.equal(network.bias, before[1])


def test_a_network_without_matrices_has_one_group() -> None:
    assert len(SGD().build(nn.BatchNorm1d(3)).param_groups) == 1


def test_sgd_without_momentum_is_plain() -> None:
    (group,) = SGD(lr=0.5, momentum=0.0).build(nn.BatchNorm1d(3)).param_groups
    assert not group["nesterov"]
    (group,) = SGD(lr=0.5, momentum=0.8).build(nn.BatchNorm1d(3)).param_groups
    assert group["nesterov"]
    assert group["momentum"] == 0.8


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=["sgd", "adamw"])
def test_is_a_value(optimiser: Optimiser) -> None:
    assert restore(describe(optimiser)) == optimiser
    with pytest.raises(dataclasses.FrozenInstanceError):
        optimiser.lr = 1.0  # type: ignore[misc]
