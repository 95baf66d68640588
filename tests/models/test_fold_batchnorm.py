"""Folding of BatchNorms: the same function with fewer layers, and only where nothing else reads between."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from harden.models.fold_batchnorm import FoldablePair, find_pairs, fold_

X = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    """A convolution and a linear layer, each followed by a BatchNorm; `shared` reads between them."""

    def __init__(self, *, affine: bool = True, bias: bool = True, shared: bool = False) -> None:
        super().__init__()
        self.shared = shared
        self.one, self.norm_one = nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5, affine=affine)
        self.two, self.norm_two = nn.Linear(80, 4, bias=bias), nn.BatchNorm1d(4, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        between = self.one(x)
        after = self.norm_one(between)
        after = after + between if self.shared else after
        logits: Tensor = self.norm_two(self.two(after.relu().flatten(1)))
        return logits


def made(**options: bool) -> Two:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = Two(**options).eval()
        for norm in (network.norm_one, network.norm_two):
            for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                if values is not None:
                    values.data.uniform_(0.5, 1.5)
    return network


def pairs_of(network: nn.Module) -> tuple[FoldablePair, ...]:
    return find_pairs(network, lambda: network(X.clone().requires_grad_()))


BOTH = (FoldablePair("one", "norm_one"), FoldablePair("two", "norm_two"))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_folded_network_is_the_same_function(affine: bool, bias: bool) -> None:
    network = made(affine=affine, bias=bias)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pairs = pairs_of(network)
    assert pairs == BOTH
    folded = copy.deepcopy(network)
    fold_(folded, network, pairs)
    assert isinstance(folded.norm_one, nn.Identity)
    assert isinstance(folded.norm_two, nn.Identity)
    torch.testing.assert_close(folded(X), network(X))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

    with torch.no_grad():
        network.norm_one.running_mean.add_(1.0)  # type: ignore[union-attr]  # it has statistics
    fold_(folded, network, pairs)
    torch.testing.assert_close(folded(X), network(X))


def test_an_output_with_another_reader_is_not_folded() -> None:
    assert pairs_of(made(shared=True)) == BOTH[1:]


def test_norms_without_statistics_and_parts_with_hooks_are_not_folded() -> None:
    network = made()
    network.norm_one = nn.BatchNorm2d(5, track_running_stats=False).eval()
    network.two.register_forward_hook(lambda *_: None)
    assert pairs_of(network) == ()
    assert all(not part._forward_pre_hooks for part in network.modules())
    assert len(network.two._forward_hooks) == 1
    assert not network.one._forward_hooks
