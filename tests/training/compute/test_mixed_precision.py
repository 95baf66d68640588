"""Training with passes in bfloat16: where the network can, with float32 weights, gradients and images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Batch, Source, from_loader
from harden.models import Classifier
from harden.objectives import (
    AWP,
    LIET,
    MART,
    NFGSM,
    TRADES,
    AdversarialTraining,
    FreeAdversarialTraining,
    GaussianAugmentation,
    Objective,
    PriorGuidedFGSM,
    SimCLR,
    Standard,
    Step,
)
from harden.objectives.objective import ClassifierState
from harden.threats import Linf
from harden.training import SGD, Budget, Stage, train
from harden.training.compute.mixed_precision import computes_in_bfloat16
from harden.training.weights.weight_averaging import weights_of
from harden.views import Views

ATTACK = PGD(steps=2, step_size=0.75, keep_best=False)
OBJECTIVES: list[Objective] = [
    Standard(),
    AdversarialTraining(ATTACK),
    TRADES(attack=ATTACK),
    MART(attack=ATTACK),
    AWP(TRADES(attack=ATTACK), warmup=0.0),
    NFGSM(),
    PriorGuidedFGSM(),
    LIET(),
    FreeAdversarialTraining(),
    GaussianAugmentation(),
    SimCLR(views=Views(shift=1, noise=0.05), hidden=8, width=4),
]


class NamesItsType(nn.Module):
    """Adds its features to float32 zeros by an operation that takes one type alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(144, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.head(self.conv(x).flatten(1))
        return torch.zeros(len(x), 4).index_add(1, torch.arange(4), logits)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 4),
    )


def classifier() -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Classifier(network())


@pytest.fixture
def images() -> Source:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand((48, 3, 8, 8), generator=generator)
    return from_loader((x, torch.randint(4, (48,), generator=generator)), 12)


def stage(objective: Objective, *, bfloat16: bool, budget: str = "3epochs") -> Stage:
    return Stage("test", objective, Budget.parse(budget), optimiser=SGD(0.02), ramp=0.0, bfloat16=bfloat16)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda each: type(each).__name__)
def test_a_step_leaves_float32_weights_near_those_of_float32(objective: Objective, images: Source) -> None:
    found, expected = classifier(), classifier()
    before = weights_of(found)
    list(train(stage(objective, bfloat16=True, budget="0.25epochs"), found, images, Linf("0.05"), seed=3))
    list(train(stage(objective, bfloat16=False, budget="0.25epochs"), expected, images, Linf("0.05"), seed=3))
    mine, other = weights_of(found), weights_of(expected)
    assert {value.dtype for value in mine.values()} == {torch.float32, torch.int64}
    assert any(not torch.equal(mine[name], value) for name, value in other.items())
    moved = torch.cat([(value - before[name]).float().flatten() for name, value in other.items()])
    apart = torch.cat([(value - mine[name]).float().flatten() for name, value in other.items()])
    assert apart.norm() <= 0.1 * moved.norm()


def test_the_same_seed_gives_the_same_bytes(images: Source) -> None:
    one, other = classifier(), classifier()
    for model in (one, other):
        list(train(stage(AdversarialTraining(ATTACK), bfloat16=True), model, images, Linf("0.05"), seed=3))
    assert all(torch.equal(weights_of(one)[name], value) for name, value in weights_of(other).items())


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_pass_of_the_weights_computes_as_the_stage_says(images: Source, bfloat16: bool) -> None:
    seen: set[torch.dtype] = set()

    class Spy:
        def start(self, model: Classifier, n: int) -> nn.Module:
            return ClassifierState(model)

        def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
            assert step.bfloat16 is bfloat16
            return Standard()(state, batch, step)

    model = classifier()
    model.network.get_submodule("0").register_forward_hook(
        lambda module, inputs, output: seen.add(output.dtype) if module.training else None
    )
    list(train(stage(Spy(), bfloat16=bfloat16), model, images, Linf("0.05")))
    assert (torch.bfloat16 in seen) is bfloat16


def test_a_network_that_can_not_compute_in_bfloat16_is_trained_in_float32() -> None:
    x = torch.rand(6, 3, 8, 8)
    assert computes_in_bfloat16(classifier(), x)
    assert not computes_in_bfloat16(Classifier(NamesItsType()), x)


def test_the_trial_draws_no_random_number_and_moves_no_statistic(rng_untouched: None) -> None:
    model = classifier().train()
    before = weights_of(model)
    assert computes_in_bfloat16(model, torch.ones(6, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())
    assert all(weight.grad is None for weight in model.parameters())
