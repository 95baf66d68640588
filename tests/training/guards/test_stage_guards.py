"""Guards return to earlier weights where training fails; what they did is in the record of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Batch, Source
from harden.draws import mix
from harden.errors import DivergedError
from harden.models import Classifier
from harden.models.snapshot import put_tensors, read_snapshot, tensors_of, write_snapshot
from harden.objectives import NFGSM, AdversarialTraining, Objective, Standard, Step
from harden.objectives.objective import ClassifierState
from harden.threats import Linf
from harden.training import SGD, AdamW, Budget, Stage, StepRecord, train
from harden.training.guards import stage_guards
from harden.training.guards.catastrophic_overfitting import AttackComparison
from harden.training.guards.guard_options import Guards
from harden.training.weights.weight_update import WeightUpdate

MakeModel = Callable[..., Classifier]

THREAT = Linf("1/10")
ATTACK = PGD(steps=2, keep_best=False)


@final
@dataclass(frozen=True, slots=True)
class NotFinite:
    """Cross-entropy, times a value at some of the loss's evaluations; evaluations are counted from 0."""

    at: tuple[int, ...]
    value: float = math.nan

    def start(self, model: Classifier, n: int) -> nn.Module:
        state = ClassifierState(model)
        state.register_buffer("evaluations", torch.zeros((), dtype=torch.int64))
        return state

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        done: Any = state.evaluations
        number = int(done)
        evaluations.append(number)
        loss: Tensor = nn.functional.cross_entropy(state.classifier(batch.x), batch.y)  # type: ignore[operator]
        return loss * self.value if len(evaluations) - 1 in self.at else loss


evaluations: list[int] = []


@pytest.fixture(autouse=True)
def _counted() -> None:
    evaluations.clear()


def stage(objective: Objective, guards: Guards, budget: str = "4epochs") -> Stage:
    return Stage("finetune", objective, Budget.parse(budget), optimiser=SGD(0.05), ramp=0.0, guards=guards)


def weights(model: Classifier) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors_of(model).items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e38])  # the last: a gradient of infinite length
def test_training_goes_on_at_half_the_rate(model: Classifier, source: Source, value: float) -> None:
    records = list(train(stage(NotFinite((7,), value), Guards()), model, source, THREAT))
    assert [record.step for record in records if record.event] == [8]
    assert records[7].event.startswith("divergence: a ")
    assert "back to the weights after step" in records[7].event
    assert "0.5 times the learning rate" in records[7].event
    assert all(math.isfinite(record.loss) for record in records)
    assert all(bool(torch.isfinite(value).all()) for value in tensors_of(model).values())
    clean = list(train(stage(Standard(), Guards()), model, source, THREAT))
    rates = [one.learning_rate / other.learning_rate for one, other in zip(records, clean, strict=True)]
    assert rates == [1.0] * 7 + [0.5] * (len(rates) - 7)


def test_training_continues_as_from_the_kept_weights(make_model: MakeModel, source: Source) -> None:
    """Oracle: at step 8 the weights after step 5, new moments and half the rate make the same step."""
    model, other = make_model(), make_model(seed=9)
    wanted = stage(NotFinite((7,)), Guards(checks=4))  # weights are kept after each epoch of 5 steps
    training = train(wanted, model, source, THREAT)
    for _ in range(5):
        next(training)
    good = weights(model)
    for _ in range(2):
        next(training)
    assert not same(weights(model), good)
    record = next(training)
    assert "after step 5," in record.event

    batch = list(source.epoch(torch.Generator().manual_seed(mix(0, 1, 1) >> 1)))[2]
    put_tensors(other, good)
    update = WeightUpdate(replace(wanted, objective=Standard()), other, source, 0)
    step = Step(7, 0.0, THREAT, 0, torch.Generator())
    loss = update.make(batch, step, record.learning_rate)
    assert record.loss == pytest.approx(loss, rel=1e-6)
    found = weights(model)
    assert all(torch.allclose(value, found[name], atol=1e-6) for name, value in weights(other).items())
    assert update.average is not None
    average = training.snapshot().part("average")
    assert all(
        torch.allclose(value, average[name], atol=1e-6) for name, value in update.average.weights.items()
    )


def test_a_loss_that_is_never_finite_ends_the_run(model: Classifier, source: Source) -> None:
    objective = NotFinite(tuple(range(6, 1000)))
    with pytest.raises(DivergedError, match="after 3 returns to earlier weights") as caught:
        list(train(stage(objective, Guards(rollbacks=3)), model, source, THREAT))
    assert "lower the learning rate" in caught.value.instead
    assert len(evaluations) == 6 + 1 + 3


def test_without_rollbacks_the_first_one_ends_it(model: Classifier, source: Source) -> None:
    with pytest.raises(DivergedError, match="a loss of nan at step 7 of finetune;"):
        list(train(stage(NotFinite((6,)), Guards(rollbacks=0)), model, source, THREAT))


def test_returns_are_counted_over_the_whole_stage(model: Classifier, source: Source) -> None:
    records = list(train(stage(NotFinite((3, 5, 12)), Guards()), model, source, THREAT))
    found = [record.event for record in records if record.event]
    assert [event.rsplit("with ", 1)[1] for event in found] == [
        "0.5 times the learning rate",
        "0.25 times the learning rate",
        "0.125 times the learning rate",
    ]


def collapsing(monkeypatch: pytest.MonkeyPatch, *at: int) -> list[Objective]:
    """Let comparisons with these numbers find catastrophic overfitting; return the objectives compared."""
    compared: list[Objective] = []

    def scripted(objective: Objective, *rest: Any) -> AttackComparison:
        compared.append(objective)
        return AttackComparison(60, 1 if len(compared) - 1 in at else 59, 64)

    monkeypatch.setattr(stage_guards, "compare", scripted)
    monkeypatch.setattr(stage_guards, "largest_cost", lambda objective, images: 0.0)
    return compared


def test_overfitting_to_the_attack_is_answered_by_more_steps(
    make_model: MakeModel, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = collapsing(monkeypatch, 1, 2)
    model = make_model()
    records = list(train(stage(NFGSM(label_smoothing=0.1), Guards(checks=8)), model, source, THREAT))
    found = [record.event for record in records if record.event]
    assert len(found) == 2
    assert all(event.startswith("catastrophic overfitting: of 64 images 60 are ") for event in found)
    second = AdversarialTraining(label_smoothing=0.1)
    third = replace(second, attack=PGD(steps=4, step_size=0.375, keep_best=False))
    assert compared == [NFGSM(label_smoothing=0.1)] * 2 + [second] + [third] * (len(compared) - 3)
    # A step costs as many passes as the objective's attack has steps, and one.
    costs = [
        round((after.passes - before.passes) * len(source) / (after.examples - before.examples), 6)
        for before, after in pairwise(records)
    ]
    assert sorted(set(costs)) == [2.0, 3.0, 5.0]


def test_weights_that_were_not_checked_are_not_returned_to(
    make_model: MakeModel, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check at step 3, none at 5, 8, 10 and 13, then one that fails: the sound weights are of step 3."""
    collapsing(monkeypatch, 1)
    costs = iter((0.0, 1e9, 1e9, 1e9, 1e9))
    monkeypatch.setattr(stage_guards, "largest_cost", lambda objective, images: next(costs, 0.0))
    model = make_model()
    training = train(stage(NFGSM(), Guards(checks=8)), model, source, THREAT)
    for _ in range(3):
        next(training)
    sound = weights(model)
    record = next(record for record in training if record.event)
    assert record.step == 15
    assert "back to the weights after step 3," in record.event
    assert same(weights(model), sound)


def test_overfitting_without_a_return_is_reported(
    model: Classifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapsing(monkeypatch, 1, 2)
    records = list(train(stage(NFGSM(), Guards(rollbacks=1, checks=8)), model, source, THREAT))
    found = [record.event for record in records if record.event]
    assert found[0].endswith("with more steps in the attack")
    assert found[1].endswith("no return to earlier weights is left")


def test_attacks_with_enough_steps_are_not_checked(
    model: Classifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = collapsing(monkeypatch, 0)
    enough = AdversarialTraining(PGD(steps=8, step_size=0.2, keep_best=False))
    for objective in (enough, Standard()):
        assert not any(one.event for one in train(stage(objective, Guards()), model, source, THREAT))
    assert compared == []


def test_checks_stay_within_their_share(model: Classifier, source: Source) -> None:
    """Passes beyond those of training are the checks'."""
    for share in (0.0, 0.1, 0.5):
        guards = Guards(checks=50, share=share)
        records = list(train(stage(AdversarialTraining(ATTACK), guards, "30epochs"), model, source, THREAT))
        whole = records[-1].passes * len(source)
        checks = whole - 3 * records[-1].examples
        assert checks <= share * whole + 1e-6
        assert (checks > 0) == (share > 0)


@pytest.mark.parametrize("after", [6, 9, 14])
@pytest.mark.parametrize("optimiser", [SGD(0.05), AdamW(0.01)], ids=["sgd", "adamw"])
def test_a_resumed_stage_has_the_same_events_and_weights(
    make_model: MakeModel,
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    after: int,
    optimiser: SGD | AdamW,
) -> None:
    def found(
        objective: Objective, model: Classifier, batch: Batch, threat: Any, seed: int
    ) -> AttackComparison:
        # The seed is that of the step: both processes find the same.
        return AttackComparison(60, 1 if seed in failing else 59, 64)

    failing = {mix(mix(0, 5), number) for number in (6, 7, 13)}
    monkeypatch.setattr(stage_guards, "compare", found)
    monkeypatch.setattr(stage_guards, "largest_cost", lambda objective, images: 0.0)
    wanted = replace(stage(NFGSM(), Guards(checks=16)), optimiser=optimiser)
    whole = make_model()
    all_records = list(train(wanted, whole, source, THREAT))
    assert any(record.event for record in all_records[:9])

    first = train(wanted, make_model(), source, THREAT)
    records = [next(first) for _ in range(after)]
    write_snapshot(first.snapshot(), tmp_path / "state")
    first.close()
    resumed = make_model(seed=5)
    records += train(wanted, resumed, source, THREAT, start=read_snapshot(tmp_path / "state"))

    def known(record: StepRecord) -> tuple[object, ...]:
        return record.step, record.loss, record.passes, record.learning_rate, record.event

    assert [known(record) for record in records] == [known(record) for record in all_records]
    assert same(weights(resumed), weights(whole))
