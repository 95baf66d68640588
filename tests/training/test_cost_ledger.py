"""The ledger of a run: sums of stages, points of the history, and the way through JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harden.errors import InputError
from harden.objectives import Standard
from harden.training import Budget, Stage, StepRecord
from harden.training.cost_ledger import CostLedger, line_of


def stage(name: str) -> Stage:
    return Stage(name, Standard(), Budget.parse("4epochs"))


def record(name: str, step: int, progress: float, robust: float | None = None) -> StepRecord:
    return StepRecord(
        stage=name,
        step=step,
        progress=progress,
        passes=2.0 * step,
        seconds=0.5 * step,
        loss=1.0 / step,
        learning_rate=0.1,
        eps=0.05,
        clean=robust,
        robust=robust,
        examples=10 * step,
    )


def test_costs_of_stages_add_up() -> None:
    ledger = CostLedger(48)
    for name, steps in (("first", 3), ("second", 2)):
        for step in range(1, steps + 1):
            ledger.add(record(name, step, step / steps))
        ledger.close(stage(name))
    assert [(one.name, one.passes, one.epochs_equivalent, one.seconds) for one in ledger.stages] == [
        ("first", 6.0 * 48, 6.0, 1.5),
        ("second", 4.0 * 48, 4.0, 1.0),
    ]
    spent = ledger.spent
    assert (spent.passes, spent.examples, spent.seconds) == (10.0 * 48, 50, 2.5)
    assert ledger.last is None
    ledger.close(stage("third"))  # which made no step
    assert len(ledger.stages) == 2


def test_a_point_is_kept_for_each_hundredth_and_each_validation() -> None:
    ledger = CostLedger(48)
    lines = [ledger.add(record("one", step, step / 1000)) for step in range(1, 31)]
    kept = [step for step, line in enumerate(lines, 1) if line is not None]
    assert kept == [1, 10, 20, 30]
    validated = ledger.add(record("one", 31, 0.0301, robust=0.25))
    assert validated == ledger.lines()[-1] == line_of(ledger.history[-1])
    assert json.loads(validated)["robust"] == 0.25
    assert [point.step for point in ledger.history] == [1, 10, 20, 30, 31]


def test_a_ledger_comes_back_from_json() -> None:
    ledger = CostLedger(48)
    ledger.add(record("one", 1, 1.0))
    ledger.close(stage("one"))
    ledger.add(record("two", 2, 0.504, robust=0.5))
    again = CostLedger(48)
    again.restore(json.loads(json.dumps(ledger.facts())))
    assert again.facts() == ledger.facts()
    assert again.last == ledger.last
    for one in (ledger, again):
        assert one.add(record("two", 3, 0.505)) is None


def test_a_stage_gets_what_is_left_of_the_budget() -> None:
    ledger, whole = CostLedger(10), Budget.parse("8epochs")
    ledger.add(record("one", 2, 1.0))  # 20 examples of 10: two epochs
    ledger.close(stage("one"))
    assert ledger.within(stage("two"), whole).budget == Budget.parse("6epochs")
    with pytest.raises(InputError, match="a smaller pretrain_share"):
        ledger.within(stage("two"), Budget.parse("2epochs"))


def test_every_event_is_a_point() -> None:
    ledger = CostLedger(100)
    for step in range(1, 6):
        said = "divergence" if step in (3, 4) else ""
        ledger.add(replace(record("finetune", step, 0.001), event=said))
    assert [(point.step, point.event) for point in ledger.history] == [
        (1, ""),
        (3, "divergence"),
        (4, "divergence"),
    ]


def test_trials_are_a_stage_with_the_sum_of_their_costs() -> None:
    ledger = CostLedger(100)
    trials = [replace(record("learning rate", step, 1.0), event=f"learning rate {step}") for step in (4, 9)]
    ledger.add_trials(stage("learning rate"), 0.3, trials)
    (made,) = ledger.stages
    assert made.epochs_equivalent == sum(trial.passes for trial in trials)
    assert made.passes == 100 * made.epochs_equivalent == ledger.spent.passes
    assert made.seconds == sum(trial.seconds for trial in trials) == ledger.spent.seconds
    assert ledger.spent.examples == sum(trial.examples for trial in trials)
    again = CostLedger(100)
    again.restore(json.loads(json.dumps(ledger.facts())))
    assert (again.rate, again.lines(), again.spent) == (0.3, ledger.lines(), ledger.spent)
