"""frozen(): every flag comes back, whatever happens inside."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.models import frozen

pytestmark = pytest.mark.usefixtures("rng_untouched")


class Opinionated(nn.Module):
    """A user's module whose train() does more than set flags: it counts, and it resets its statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.switched = 0

    def train(self, mode: bool = True) -> Opinionated:
        self.switched += 1
        self.norm.reset_running_stats()
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x)
        return normed


def _flags(*modules: nn.Module) -> tuple[list[bool], list[bool]]:
    modes = [part.training for module in modules for part in module.modules()]
    return modes, [weight.requires_grad for module in modules for weight in module.parameters()]


def test_inside_everything_is_in_inference_mode_and_without_gradients(network: nn.Module) -> None:
    with frozen(network):
        modes, grads = _flags(network)
        assert not any(modes)
        assert not any(grads)
    modes, grads = _flags(network)
    assert set(modes) == {True, False}  # the frozen BatchNorm stays frozen
    assert set(grads) == {True, False}


@given(st.data())
def test_any_mixture_of_flags_comes_back(data: st.DataObject) -> None:
    norms = [nn.BatchNorm2d(2) for _ in range(3)]
    network = nn.Sequential(norms[0], nn.Sequential(norms[1], nn.ReLU()), norms[2])
    for part in network.modules():
        part.training = data.draw(st.booleans())
    for weight in network.parameters():
        weight.requires_grad_(data.draw(st.booleans()))
    before = _flags(network)
    with frozen(network):
        assert not any(flag for flags in _flags(network) for flag in flags)
        with frozen(network[1], norms[0]):
            pass
        assert not any(flag for flags in _flags(network) for flag in flags)
    assert _flags(network) == before


@pytest.mark.parametrize("error", [RuntimeError("the body"), KeyboardInterrupt(), StopIteration()])
def test_flags_come_back_when_the_body_raises(error: BaseException, network: nn.Module) -> None:
    before = _flags(network)
    with pytest.raises((type(error), RuntimeError)), frozen(network):
        raise error
    assert _flags(network) == before


def test_flags_set_inside_do_not_survive(network: nn.Module) -> None:
    before = _flags(network)
    with frozen(network):
        network.train()
        network.requires_grad_(True)
    assert _flags(network) == before


def test_statistics_stand_still_and_gradients_are_kept(network: nn.Module, images: Tensor) -> None:
    head = network.get_submodule("8")
    assert isinstance(head, nn.Linear)
    head.weight.grad = kept = torch.ones_like(head.weight)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = images.clone().requires_grad_()
    with frozen(network):
        (gradient,) = torch.autograd.grad(network(x).sum(), x)
    assert bool((gradient != 0).any())
    assert head.weight.grad is kept
    assert bool((kept == 1).all())
    assert all(weight.grad is None for weight in network.parameters() if weight is not head.weight)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_users_own_train_is_not_called(images: Tensor) -> None:
    module = Opinionated()
    module.norm.running_mean = torch.ones(3)
    with frozen(nn.Sequential(module)):
        assert not module.norm.training
        module(images)
    assert module.switched == 0
    assert module.norm.running_mean.tolist() == [1.0] * 3
    assert module.training
    assert module.norm.training


def test_several_modules_with_a_part_in_common(network: nn.Module) -> None:
    shared = network.get_submodule("1")
    other = nn.Sequential(shared)
    before = _flags(network, other)
    with frozen(network, other):
        assert not any(_flags(network, other)[0])
    assert _flags(network, other) == before
    with frozen():
        assert _flags(network, other) == before
