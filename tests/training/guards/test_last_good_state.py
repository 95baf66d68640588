from __future__ import annotations

import torch
from torch import nn

from harden.models.snapshot import tensors_of
from harden.training.guards.last_good_state import LastGoodState


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def bits(module: nn.Module) -> dict[str, list[float]]:
    return {name: value.flatten().tolist() for name, value in tensors_of(module).items()}


def moved(module: nn.Module) -> nn.Module:
    for value in tensors_of(module).values():
        value.add_(1)
    return module


def test_every_parameter_and_buffer_returns_to_its_bits() -> None:
    module = network()
    before, good = bits(module), LastGoodState(module)
    good.put(moved(module))
    assert bits(module) == before


def test_buffers_of_the_state_itself_are_left_out() -> None:
    """They may be as large as the data: the priors of FGSM-PGI, for instance."""
    state = nn.Module()
    state.network = network()
    state.register_buffer("prior", torch.zeros(50_000, 8))
    good = LastGoodState(state)
    assert set(good.tensors) == {f"network.{name}" for name in bits(state.network)}
    state.get_buffer("prior").add_(1)
    good.put(moved(state))
    assert float(state.get_buffer("prior").min()) == 2.0


def test_later_tensors_replace_the_first() -> None:
    module = network()
    good = LastGoodState(module)
    good.keep(moved(module))
    kept = bits(module)
    good.put(moved(module))
    assert bits(module) == kept


def test_tensors_of_another_process_replace_them() -> None:
    module, other = network(), network()
    good = LastGoodState(module)
    good.restore(LastGoodState(other).tensors)
    good.put(module)
    assert bits(module) == bits(other)
