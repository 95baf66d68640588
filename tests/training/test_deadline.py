"""A budget in seconds ends within a forward, on a clock that forwards move."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Source
from harden.errors import InputError
from harden.evaluation import Attempt
from harden.models import Classifier
from harden.objectives import AdversarialTraining
from harden.threats import Linf
from harden.training import AdamW, Budget, Stage, StepRecord, Validation, train
from harden.training.weights.weight_averaging import weights_of
from tests.clocks import ticking

THREAT = Linf("0.1")


class Clock:
    """Moves by a second for each image of a forward."""

    def __init__(self) -> None:
        self.now = 0.0


@pytest.fixture
def clock(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    ticks = ticking(found)

    def tick(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        ticks.send(len(inputs[0]))

    model.network.register_forward_pre_hook(tick)
    monkeypatch.setattr("harden.training.stage_run.time", SimpleNamespace(perf_counter=lambda: found.now))
    return found


def records(
    model: Classifier, source: Source, seconds: float, validations: int = 0, steps: int = 4, lr: float = 1e-3
) -> list[StepRecord]:
    objective = AdversarialTraining(PGD(steps=steps, keep_best=False), steering=None)
    stage = Stage("test", objective, Budget(seconds, "s"), validations=validations, optimiser=AdamW(lr=lr))
    looked = Validation(source, THREAT, (Attempt("pgd-5", PGD(steps=5, stop_early=False)),))
    return list(train(stage, model, source, THREAT, validation=looked if validations else None, seed=1))


@pytest.mark.parametrize("seconds", [60, 333, 1000, 2345])
@pytest.mark.parametrize("validations", [0, 3, 10])
def test_it_ends_in_time(
    model: Classifier, source: Source, clock: Clock, seconds: float, validations: int
) -> None:
    """A step takes 50 seconds, a validation about 300: each alone would exceed the shortest budgets."""
    found = records(model, source, seconds, validations)
    assert found[-1].progress == 1.0
    assert clock.now <= 1.1 * seconds + 20  # a forward of ten images, and the few for a fast copy
    assert clock.now >= 0.5 * seconds
    assert [record.progress for record in found] == sorted(record.progress for record in found)
    assert all(record.progress < 1 for record in found[:-1])


@pytest.mark.parametrize("seconds", range(240, 310, 10))
def test_it_may_end_in_the_first_step_of_an_epoch(
    model: Classifier, source: Source, clock: Clock, seconds: int
) -> None:
    """An epoch takes about 240 seconds; some of these budgets end in the first step of the next one."""
    found = records(model, source, seconds)
    assert found[-1].progress == 1.0
    assert {record.examples for record in found} >= {10, 20, 30}


def test_the_last_weights_are_measured_within_the_budget(
    model: Classifier, source: Source, clock: Clock
) -> None:
    # Weights that hardly move, so a validation takes as long as the one before it.
    found = records(model, source, 3000, validations=3, lr=1e-9)
    assert sum(record.robust is not None for record in found) >= 3
    assert found[-1].robust is not None
    assert clock.now <= 1.1 * 3000


def test_a_step_that_is_not_finished_moves_no_weight(model: Classifier, source: Source, clock: Clock) -> None:
    before = weights_of(model)
    modes = [part.training for part in model.modules()]
    with pytest.raises(InputError, match="over before its first step was made") as caught:
        records(model, source, 25, steps=20)
    assert "--batch-size" in caught.value.instead
    assert clock.now <= 1.1 * 25 + 10
    own = {name: value for name, value in weights_of(model).items() if "running" not in name}
    assert all(torch.equal(value, before[name]) for name, value in own.items() if "batches" not in name)
    assert [part.training for part in model.modules()] == modes
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
