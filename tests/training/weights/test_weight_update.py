from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import final

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.data import Batch, Source
from harden.draws import mix
from harden.errors import DivergedError, InputError
from harden.models import Classifier
from harden.models.snapshot import tensors_of
from harden.objectives import NFGSM, AdversarialTraining, Objective, Standard, Step
from harden.objectives.objective import ClassifierState, classifier_of
from harden.threats import Linf
from harden.training import SGD, AdamW, Budget, Stage
from harden.training.optimisers import Optimiser
from harden.training.weights.weight_averaging import WeightAverage
from harden.training.weights.weight_update import WeightUpdate

MakeModel = Callable[..., Classifier]


def step(number: int = 0) -> Step:
    return Step(number, 0.5, Linf("1/10"), 7, torch.Generator().manual_seed(number))


def update_of(
    model: Classifier, source: Source, objective: Objective | None = None, optimiser: Optimiser | None = None
) -> WeightUpdate:
    used = optimiser or SGD(0.1)
    stage = Stage("finetune", objective or Standard(), Budget.parse("1epochs"), optimiser=used, clip=0.5)
    return WeightUpdate(stage, model, source, 0)


def batch_of(source: Source) -> Batch:
    return next(iter(source.epoch(None)))


def weights(model: Classifier) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors_of(model).items()}


def test_an_update_is_that_of_torch(make_model: MakeModel, source: Source) -> None:
    """Oracle: loss, gradient, clipping, two steps of SGD and the average, in torch alone."""
    model, other = make_model(dropout=0.0), make_model(dropout=0.0)
    update, batch = update_of(model, source), batch_of(source)
    optimiser = SGD(0.1).build(other)
    average, other = WeightAverage(other, 0.99), other.train()
    for number, rate in enumerate((0.1, 0.05)):
        value = update.make(batch, step(number), rate)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        loss = functional.cross_entropy(other.logits(batch.x), batch.y)
        torch.autograd.backward(loss)
        length = nn.utils.clip_grad_norm_(other.parameters(), 0.5)
        assert float(length) > 0.5  # or else nothing is clipped
        optimiser.step()
        average.update(other)
        assert value == float(loss.detach())
    expected = weights(other)
    assert all(torch.equal(value, expected[name]) for name, value in weights(model).items())
    assert update.average is not None
    assert all(torch.equal(value, average.weights[name]) for name, value in update.average.weights.items())


@final
@dataclass(frozen=True, slots=True)
class Times:
    """A factor times the cross-entropy."""

    factor: float

    def start(self, model: Classifier, n: int) -> nn.Module:
        return ClassifierState(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        return self.factor * functional.cross_entropy(classifier_of(state).logits(batch.x), batch.y)


@pytest.mark.parametrize(
    ("factor", "what"), [(math.nan, "a loss of nan"), (math.inf, "a loss of inf"), (1e38, "a gradient of")]
)
def test_a_value_that_is_not_finite_changes_no_weight(
    model: Classifier, source: Source, factor: float, what: str
) -> None:
    update = update_of(model, source, Times(factor))
    before = {name: value.clone() for name, value in model.named_parameters()}
    with pytest.raises(DivergedError, match=f"{what}.* at step 4 of finetune"):
        update.make(batch_of(source), step(3), 0.1)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert all(value.grad is None for value in model.parameters())


@pytest.mark.parametrize("optimiser", [SGD(0.1), AdamW(0.01)], ids=["sgd", "adamw"])
def test_a_restored_update_makes_the_same_next_step(
    make_model: MakeModel, source: Source, optimiser: SGD | AdamW
) -> None:
    batch, model, other = batch_of(source), make_model(), make_model(seed=2)
    update, again = (update_of(each, source, NFGSM(), optimiser) for each in (model, other))
    update.make(batch, step(0), 0.1)
    assert update.strengthen()
    update.make(batch, step(1), 0.1)
    again.restore(deepcopy(update.snapshot()))
    assert (again.objective, again.strengthened) == (AdversarialTraining(), 1)
    assert update.make(batch, step(2), 0.05) == again.make(batch, step(2), 0.05)
    expected = weights(model)
    assert all(torch.equal(value, expected[name]) for name, value in weights(other).items())


def test_a_stronger_objective_keeps_the_weights_and_forgets_the_moments(
    model: Classifier, source: Source
) -> None:
    update = update_of(model, source, NFGSM())
    update.make(batch_of(source), step(), 0.1)
    before = weights(model)
    assert update.strengthen()
    assert not update.optimiser.state
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    for _ in range(2):
        assert update.strengthen()  # four steps of PGD, then eight
    assert not update.strengthen()
    assert update.strengthened == 3


def test_a_new_start_forgets_moments_and_average(model: Classifier, source: Source) -> None:
    update = update_of(model, source)
    for number in range(3):
        update.make(batch_of(source), step(number), 0.1)
    update.start_anew()
    assert not update.optimiser.state
    assert update.average is not None
    assert update.average.steps == 0
    expected = weights(model)
    assert all(torch.equal(value, expected[name]) for name, value in update.average.weights.items())


def test_random_numbers_are_those_of_the_step(make_model: MakeModel, source: Source) -> None:
    """Dropout draws from the step's seed, whatever torch's generator has drawn before."""
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        update = update_of(make_model(dropout=0.5), source)
        drawn = torch.get_rng_state()
        losses.append(update.make(batch_of(source), step(4), 0.1))
        assert torch.equal(torch.get_rng_state(), drawn)
    assert losses[0] == losses[1]
    assert mix(0, 4, 4) != mix(0, 4, 5)


@final
@dataclass(frozen=True, slots=True)
class Constant:
    """A loss that does not depend on the weights, with a gradient of 0 or with none."""

    value: float
    linked: bool

    def start(self, model: Classifier, n: int) -> nn.Module:
        return ClassifierState(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        logits: Tensor = classifier_of(state).logits(batch.x)
        loss: Tensor = self.value + 0.0 * logits.sum()
        return loss if self.linked else torch.tensor(self.value)


class Detached(nn.Module):
    """A network whose forward cuts the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits.detach()


@pytest.mark.parametrize("linked", [True, False])
def test_a_constant_loss_is_refused(model: Classifier, source: Source, *, linked: bool) -> None:
    update = update_of(model, source, Constant(0.7, linked))
    with pytest.raises(InputError, match=r"a loss of 0\.7 in finetune whose gradient is 0") as caught:
        update.make(batch_of(source), step(), 0.1)
    assert "detach()" in caught.value.instead


def test_a_network_that_cuts_the_gradient_is_refused(source: Source) -> None:
    update = update_of(Classifier(Detached()), source)
    with pytest.raises(InputError, match="whose gradient is 0 for every weight"):
        update.make(batch_of(source), step(), 0.1)


def test_a_loss_of_zero_is_no_fault(model: Classifier, source: Source) -> None:
    assert update_of(model, source, Constant(0.0, linked=True)).make(batch_of(source), step(), 0.1) == 0
    # Later in the stage the loss may rest, where an objective has nothing to say about a batch.
    assert update_of(model, source, Constant(0.7, linked=True)).make(batch_of(source), step(5), 0.1) > 0
