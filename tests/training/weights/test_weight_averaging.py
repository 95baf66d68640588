from __future__ import annotations

import pytest
import torch
from torch import nn

from harden.training.weights.weight_averaging import WeightAverage, load_weights, weights_of


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@torch.no_grad()
def disturb_(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.randn(value.shape, generator=generator))
        else:
            value.add_(seed)


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_follows_its_formula_over_weights_and_buffers(decay: float) -> None:
    module = network()
    average = WeightAverage(module, decay)
    expected = {name: value.double().clone() for name, value in module.state_dict().items()}
    for t in range(1, 6):
        disturb_(module, t)
        average.update(module)
        d = min(decay, (1 + t) / (10 + t))
        for name, value in module.state_dict().items():
            floating = value.is_floating_point()
            expected[name] = d * expected[name] + (1 - d) * value.double() if floating else value.double()
    assert set(expected) == set(average.weights)
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= set(expected)
    for name, value in average.weights.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not torch.equal(value, module.state_dict()[name]) or not value.is_floating_point()


def test_of_weights_that_stand_still_is_those_weights_bit_for_bit() -> None:
    module = network()
    before = weights_of(module)
    average = WeightAverage(module, 0.9)
    for _ in range(3):
        average.update(module)
    assert all(torch.equal(average.weights[name], value) for name, value in before.items())


def test_holds_no_memory_of_the_module() -> None:
    module = network()
    average = WeightAverage(module, 0.5)
    before = {name: value.clone() for name, value in average.weights.items()}
    disturb_(module, 1)
    assert all(torch.equal(average.weights[name], before[name]) for name in before)


@pytest.mark.parametrize("fails", [False, True])
def test_applied_gives_the_modules_own_weights_back(fails: bool) -> None:
    module = network()
    average = WeightAverage(module, 0.5)
    disturb_(module, 1)
    own = weights_of(module)
    try:
        with average.applied(module):
            now = module.state_dict()
            assert all(torch.equal(now[name], value) for name, value in average.weights.items())
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert all(torch.equal(module.state_dict()[name], value) for name, value in own.items())


def test_load_weights_keeps_ties_and_the_parameters_themselves() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    parameters = list(module.parameters())
    weights = {name: torch.full_like(value, 0.5) for name, value in weights_of(module).items()}
    load_weights(module, weights)
    assert module[1].weight is module[0].weight
    assert all(mine is before for mine, before in zip(module.parameters(), parameters, strict=True))
    assert all(bool((weight == 0.5).all()) and weight.requires_grad for weight in module.parameters())


def test_a_mask_of_infinities_stays_a_mask() -> None:
    """An attention mask is a buffer of 0 and -inf; averaged with itself by differences it would be NaN."""
    module = nn.Linear(2, 2)
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    average = WeightAverage(module, 0.9)
    with torch.no_grad():
        module.weight.add_(1)
    average.update(module)
    assert average.weights["mask"].tolist() == [0.0, -torch.inf]
    assert bool(average.weights["weight"].isfinite().all())
