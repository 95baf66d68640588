from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from harden.attacks import PGD
from harden.data import Source
from harden.evaluation import Attempt
from harden.losses import Margin
from harden.models import Classifier, PassMeter, counting
from harden.models.snapshot import tensors_of
from harden.objectives import Standard
from harden.threats import Linf
from harden.training import SGD, Budget, Stage, Validation, train
from harden.training.stage import CleanLimit
from harden.training.weights import checkpoint_selection as module
from harden.training.weights.checkpoint_selection import CheckpointSelection
from harden.training.weights.weight_averaging import WeightAverage, weights_of

MakeModel = Callable[..., Classifier]

THREAT = Linf("1/10")
QUICK = (Attempt("margin", PGD(steps=2), Margin),)
STAGE = Stage("finetune", Standard(), Budget.parse("2epochs"), optimiser=SGD(0.01), ramp=0.0)


@dataclass
class Share:
    value: float


@dataclass
class Found:
    """What evaluation says of the weights that are being measured."""

    robust: Share
    clean: Share
    status: str = "ok"
    robust_correct: Tensor = field(default_factory=lambda: torch.tensor([True]))


def script(monkeypatch: pytest.MonkeyPatch, *scores: tuple[float, float]) -> list[dict[str, Tensor]]:
    """Let evaluations find these robust and clean accuracies, in turn; return the weights measured."""
    measured: list[dict[str, Tensor]] = []

    def scripted(model: Classifier, *_: object, **__: object) -> Found:
        measured.append(weights_of(model))
        robust, clean = scores[len(measured) - 1]
        return Found(Share(robust), Share(clean))

    monkeypatch.setattr(module, "evaluate_unchecked", scripted)
    return measured


def set_all(model: Classifier, value: float) -> None:
    for tensor in tensors_of(model).values():
        tensor.fill_(value)


def holds(model: Classifier, value: float) -> bool:
    return all(bool((tensor == value).all()) for tensor in tensors_of(model).values())


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        # The first is that of the original weights, with the number 0.
        ([(0.0, 0.90), (0.3, 0.88), (0.5, 0.80)], 1),  # more robust beyond the limit: no candidate
        ([(0.0, 0.90), (0.5, 0.80), (0.3, 0.88)], 2),
        ([(0.0, 0.90), (0.5, 0.80), (0.6, 0.87)], 0),  # none within it
        ([(0.2, 0.90), (0.1, 0.95), (0.2, 0.89)], 0),  # none is more robust
        ([(0.2, 0.90), (0.2, 0.90), (0.2, 0.90)], 0),  # equal: the original stays
        ([(0.0, 0.90), (0.3, 0.95), (0.3, 0.95)], 2),  # equal ones of the run: the later
        ([(0.0, 0.90), (0.3, 0.88), (0.3, 0.8799)], 1),
    ],
)
def test_weights_beyond_the_limit_are_no_candidates(
    model: Classifier,
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    scores: list[tuple[float, float]],
    kept: int,
) -> None:
    script(monkeypatch, *scores)
    set_all(model, 0.0)
    validation = Validation(source, THREAT, QUICK, limit=CleanLimit(0.02, weights_of(model)))
    set_all(model, 9.0)  # pretraining may have moved them
    selection = CheckpointSelection(STAGE, model, validation)
    selection.begin()
    assert holds(model, 9.0)
    for number in range(1, len(scores)):
        set_all(model, float(number))
        _, best = selection.measure(None)
        assert selection.weights is not None
        assert best == bool((selection.weights["network.0.bias"] == number).all())
    assert selection.load()
    assert holds(model, float(kept))
    assert bool(selection.unmet) == (kept == 0)
    if kept == 0:
        robust, clean = scores[0]
        assert f"({robust:.3f}) and lost at most 0.02 of their clean accuracy {clean:.3f}" in selection.unmet
        assert "on 48 held-out images" in selection.unmet


def test_a_restored_selection_is_the_same(
    make_model: MakeModel, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, (0.0, 0.9), (0.3, 0.88))
    model, other = make_model(), make_model(seed=2)
    validation = Validation(source, THREAT, QUICK, limit=CleanLimit(0.02, weights_of(model)))
    selection, again = (CheckpointSelection(STAGE, each, validation) for each in (model, other))
    selection.begin()
    again.restore(deepcopy(selection.snapshot()))
    assert (again.best, again.original, again.unmet) == (selection.best, selection.original, selection.unmet)
    assert again.unmet
    selection.measure(None)
    again.restore(deepcopy(selection.snapshot()))
    assert (again.best, again.original, again.unmet) == (selection.best, selection.original, "")
    assert selection.weights is not None
    assert again.weights is not None
    assert all(torch.equal(value, again.weights[name]) for name, value in selection.weights.items())


@pytest.mark.parametrize(("drop", "share"), [(0.02, 0.2), (0.05, 0.5), (0.001, None), (0.2, None)])
@pytest.mark.parametrize("averaged", [False, True])
def test_weights_between_are_the_furthest_within_the_limit(
    model: Classifier,
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    drop: float,
    share: float | None,
    *,
    averaged: bool,
) -> None:
    """Weights are 0 before and 1 after training, and clean accuracy is 0.9 - w / 10."""
    script(monkeypatch, (0.0, 0.9), (0.5, 0.8), (0.3, 0.88))
    monkeypatch.setattr(
        CheckpointSelection,
        "_clean",
        lambda self: 0.9 - 0.1 * float(self.model.get_parameter("network.0.bias").detach()[0]),
    )
    set_all(model, 0.0)
    limit = CleanLimit(drop, weights_of(model))
    selection = CheckpointSelection(STAGE, model, Validation(source, THREAT, QUICK, limit=limit))
    selection.begin()
    set_all(model, 1.0)
    average = WeightAverage(model, 0.9) if averaged else None
    if averaged:
        set_all(model, 7.0)
    (_, _, clean), _ = selection.measure(average)
    selection.interpolate(average, clean)
    assert holds(model, 7.0 if averaged else 1.0)
    if share is None:  # no step of the bisection is within the limit, or the last weights are
        assert selection.share is None
        return
    found = selection.share
    assert found is not None
    assert share - 1 / 64 < found <= share
    assert selection.best == (True, 0.3, 0.88)
    assert selection.unmet == ""
    assert selection.load()
    state = {name: value for name, value in tensors_of(model).items() if value.is_floating_point()}
    assert all(bool((value == found).all()) for value in state.values())
    again = CheckpointSelection(STAGE, model, Validation(source, THREAT, QUICK, limit=limit))
    again.restore(deepcopy(selection.snapshot()))
    assert again.share == found


def test_weights_between_that_are_less_robust_are_not_kept(
    model: Classifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, (0.4, 0.9), (0.5, 0.8), (0.3, 0.89))
    monkeypatch.setattr(
        CheckpointSelection,
        "_clean",
        lambda self: 0.9 - 0.1 * float(self.model.get_parameter("network.0.bias").detach()[0]),
    )
    set_all(model, 0.0)
    limit = CleanLimit(0.02, weights_of(model))
    selection = CheckpointSelection(STAGE, model, Validation(source, THREAT, QUICK, limit=limit))
    selection.begin()
    set_all(model, 1.0)
    (_, _, clean), _ = selection.measure(None)
    selection.interpolate(None, clean)
    assert selection.share is None
    assert selection.load()
    assert holds(model, 0.0)
    assert selection.unmet


def test_the_accuracy_of_weights_between_is_that_of_an_evaluation(
    model: Classifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = (0.25, 0.75)
    for stage in (STAGE, replace(STAGE, objective=Standard(class_weights=weights))):
        selection = CheckpointSelection(stage, model, Validation(source, THREAT, QUICK))
        (_, _, clean), _ = selection.measure(None)
        assert selection._clean() == pytest.approx(clean)


def test_without_a_limit_nothing_is_measured_first(
    model: Classifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = script(monkeypatch)
    selection = CheckpointSelection(STAGE, model, Validation(source, THREAT, QUICK))
    selection.begin()
    assert (measured, selection.best, selection.unmet, selection.load()) == ([], None, "", False)


def test_the_average_is_measured_and_the_weights_come_back(
    model: Classifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = script(monkeypatch, (0.5, 0.5))
    set_all(model, 1.0)
    average = WeightAverage(model, 0.9)
    set_all(model, 2.0)
    selection = CheckpointSelection(STAGE, model, Validation(source, THREAT, QUICK))
    selection.measure(average)
    assert all(bool((value == 1.0).all()) for value in measured[0].values())
    assert holds(model, 2.0)
    selection.load()
    assert holds(model, 1.0)


def test_a_validation_costs_at_most_what_is_said(model: Classifier, source: Source) -> None:
    selection, meter = CheckpointSelection(STAGE, model, Validation(source, THREAT, QUICK)), PassMeter()
    with counting(meter):
        selection.measure(None)
    assert 0 < meter.passes <= selection.largest_cost()


def accuracy(model: Classifier, source: Source) -> float:
    images = torch.cat([batch.x for batch in source.epoch(None)])
    labels = torch.cat([batch.y for batch in source.epoch(None)])
    return float((model.eval().logits(images).argmax(1) == labels).float().mean())


def test_training_that_costs_accuracy_gives_the_original_back(model: Classifier, source: Source) -> None:
    """A rate of 5 ruins the network; within the limit there is the original alone, and the event says so."""
    plain = replace(STAGE, optimiser=SGD(0.05), budget=Budget.parse("10epochs"))
    list(train(plain, model, source, THREAT))
    before, original = accuracy(model, source), weights_of(model)
    assert before == 1.0
    model.train()
    ruin = replace(STAGE, optimiser=SGD(5.0), average=0.0)
    validation = Validation(source, THREAT, QUICK, limit=CleanLimit(0.0, original))
    records = list(train(ruin, model, source, THREAT, validation=validation))
    assert records[-1].event.startswith("clean accuracy: no weights were more robust")
    assert all(torch.equal(value, original[name]) for name, value in weights_of(model).items())
    assert accuracy(model, source) == before
    assert [record.event for record in records[:-1] if record.event] == []


def test_measuring_the_original_is_paid_for(model: Classifier, source: Source) -> None:
    limit = CleanLimit(0.5, weights_of(model))
    plain, limited = (
        list(train(STAGE, make, source, THREAT, validation=Validation(source, THREAT, QUICK, limit=each)))
        for make, each in ((deepcopy(model), None), (deepcopy(model), limit))
    )
    assert limited[0].passes > plain[0].passes
    # The first step costs what it did: the prediction of an epoch's cost leaves validations out.
    costs = [records[0].passes - records[0].validating for records in (plain, limited)]
    assert costs[0] == pytest.approx(costs[1])
    assert costs[0] > 0
