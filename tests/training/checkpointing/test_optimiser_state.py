"""The state of an optimiser as tensors and facts, and a run that continues from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from harden.errors import InputError
from harden.training.checkpointing.optimiser_state import optimiser_state, put_optimiser_state

MAKERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=0.1, amsgrad=True),
}


def steps(weight: nn.Parameter, optimiser: torch.optim.Optimizer, count: int) -> None:
    for _ in range(count):
        weight.grad = weight.detach().square() + 1.0
        optimiser.step()


@pytest.mark.parametrize("name", MAKERS)
def test_an_optimiser_continues_from_its_state(name: str) -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimiser = MAKERS[name]([weight])
    steps(weight, optimiser, 3)
    tensors, facts = optimiser_state(optimiser)
    tensors = {key: value.clone() for key, value in tensors.items()}
    again = nn.Parameter(weight.detach().clone())
    other = MAKERS[name]([again])
    put_optimiser_state(other, tensors, json.loads(json.dumps(facts)))
    steps(weight, optimiser, 2)
    steps(again, other, 2)
    assert torch.equal(again, weight)


def test_groups_are_kept_without_parameters_and_learning_rate() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.5)
    optimiser.param_groups[0] |= {"count": 3, "scale": torch.tensor(2.0), "note": "text"}
    tensors, facts = optimiser_state(optimiser)
    assert tensors == {"group.0.scale": torch.tensor(2.0)}
    assert facts["group.0.count"] == 3
    assert facts["group.0.momentum"] == 0.5
    assert not {"group.0.lr", "group.0.params", "group.0.note"} & facts.keys()


def test_other_state_is_refused() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimiser = torch.optim.SGD([weight], lr=0.1)
    optimiser.state[weight]["history"] = [1, 2]
    with pytest.raises(InputError, match="an optimiser that remembers a list as 'history'"):
        optimiser_state(optimiser)
