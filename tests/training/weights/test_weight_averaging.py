"""Averages of weights by their formulas, over parameters and buffers, and in a stage of training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from harden.attacks import PGD
from harden.data import Source
from harden.description import describe, restore
from harden.errors import InputError
from harden.evaluation import Attempt
from harden.hardening.recipe import Recipe, stages
from harden.losses import Margin
from harden.models import Classifier
from harden.models.snapshot import read_snapshot, write_snapshot
from harden.objectives import Standard
from harden.threats import Linf
from harden.training import SGD, Budget, Stage, TailAverage, Validation, train
from harden.training.weights.weight_averaging import Averaging, WeightAverage, load_weights, weights_of


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


def test_the_tail_is_a_mean_of_equal_weights_and_before_it_the_present_weights() -> None:
    module = network()
    average = WeightAverage(module, TailAverage(0.4))
    since: list[dict[str, torch.Tensor]] = []
    for t in range(10):
        disturb_(module, t)
        average.update(module, t / 10)
        now = weights_of(module)
        since = [*since, now] if t >= 4 else []
        for name, value in average.weights.items():
            if not value.is_floating_point():
                assert torch.equal(value, now[name])
            elif since:
                mean = torch.stack([one[name].double() for one in since]).mean(0)
                torch.testing.assert_close(value.double(), mean, rtol=1e-5, atol=1e-6)
            else:
                assert torch.equal(value, now[name])
    assert average.steps == len(since) == 6
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= set(average.weights)


@pytest.mark.parametrize("how", [0.9, TailAverage(0.0)], ids=str)
def test_of_weights_that_stand_still_is_those_weights_bit_for_bit(how: Averaging) -> None:
    module = network()
    before = weights_of(module)
    average = WeightAverage(module, how)
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


@pytest.mark.parametrize("how", [0.9, TailAverage(0.0)], ids=str)
def test_a_mask_of_infinities_stays_a_mask(how: Averaging) -> None:
    """An attention mask is a buffer of 0 and -inf; averaged with itself by differences it would be NaN."""
    module = nn.Linear(2, 2)
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    average = WeightAverage(module, how)
    with torch.no_grad():
        module.weight.add_(1)
    average.update(module)
    assert average.weights["mask"].tolist() == [0.0, -torch.inf]
    assert bool(average.weights["weight"].isfinite().all())


# In a stage of training


def stage(how: Averaging) -> Stage:
    return Stage("s", Standard(), Budget.parse("4epochs"), optimiser=SGD(0.05), average=how)


def test_a_stage_ends_with_the_mean_over_its_last_steps(model: Classifier, source: Source) -> None:
    since = []
    for record in train(stage(TailAverage(0.75)), model, source, Linf("0.1"), seed=5):
        assert 1 <= record.step <= 20
        if record.step > 15:  # progress is that before the step
            since.append({name: value.double() for name, value in weights_of(model).items()})
    last = since[-1]
    for name, value in weights_of(model).items():
        if value.is_floating_point():
            mean = torch.stack([one[name] for one in since]).mean(0)
            torch.testing.assert_close(value.double(), mean, rtol=1e-5, atol=1e-6)
    assert len(since) == 5
    assert any(not torch.equal(value.double(), last[name]) for name, value in weights_of(model).items())


def test_a_stage_that_is_resumed_ends_with_the_same_bytes(
    model: Classifier, source: Source, tmp_path: Path
) -> None:
    start, plan = weights_of(model), stage(TailAverage(0.5))
    how = Validation(source, Linf("0.1"), (Attempt("margin", PGD(steps=2), Margin),))
    list(train(plan, model, source, Linf("0.1"), seed=5, validation=how))
    whole = weights_of(model)
    for after in (3, 10, 11, 16):  # before the average begins, at its beginning, inside it
        load_weights(model, start)
        first = train(plan, model, source, Linf("0.1"), seed=5, validation=how)
        for _ in range(after):
            next(first)
        write_snapshot(first.snapshot(), tmp_path / "snapshot")
        first.close()
        snapshot = read_snapshot(tmp_path / "snapshot")
        list(train(plan, model, source, Linf("0.1"), seed=5, validation=how, start=snapshot))
        assert all(torch.equal(value, whole[name]) for name, value in weights_of(model).items())


def test_a_recipe_holds_it_as_a_value() -> None:
    recipe = Recipe(average=TailAverage(0.25), optimiser=SGD())
    described = describe(recipe)
    assert restore(json.loads(json.dumps(described))) == recipe
    assert isinstance(described, dict)
    assert described["average"] == {"kind": "harden.training:TailAverage", "start": 0.25}
    (last,) = stages(recipe, Budget.parse("1epochs"))
    assert last.average == TailAverage(0.25)


@pytest.mark.parametrize("start", [-0.1, 1.0, float("nan")])
def test_a_start_out_of_its_range_is_refused(start: float) -> None:
    with pytest.raises(InputError, match=r"an average from .*a share in \[0, 1\); write TailAverage"):
        TailAverage(start)
