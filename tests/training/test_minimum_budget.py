"""A budget that ends before its first epoch is refused, early where that is clear, else at its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harden.errors import InputError
from harden.objectives import FreeAdversarialTraining, Standard
from harden.training import Budget, Stage, StepRecord
from harden.training.minimum_budget import FirstEpochCheck, left_for_training

IMAGES = 1001


def record(step: int, progress: float, examples: int, robust: float | None = None) -> StepRecord:
    return StepRecord("finetune", step, progress, 0.0, 0.0, 1.0, 1e-3, 0.1, robust=robust, examples=examples)


def stage(budget: str) -> Stage:
    return Stage("finetune", Standard(), Budget.parse(budget))


def follow(budget: str, share: float, examples: int, slow_start: float = 0.0) -> FirstEpochCheck:
    """Steps of so many images and such a share of the budget each, after a first one that took longer."""
    whole, step = FirstEpochCheck(stage(budget), IMAGES), 0
    while slow_start + step * share < 1.0:
        step += 1
        whole.add(record(step, min(slow_start + step * share, 1.0), step * examples))
    return whole


def test_a_budget_in_seconds_that_is_far_too_small_is_refused_after_some_steps() -> None:
    whole = FirstEpochCheck(stage("100s"), IMAGES)
    for step in range(1, 5):
        whole.add(record(step, step / 100, step * 4))
    with pytest.raises(InputError) as refused:
        whole.add(record(5, 0.05, 20))
    assert refused.value.seen == "a budget of which finetune gets 100s, which is 0.4 of an epoch"
    assert refused.value.expected == "at least one epoch to fine-tune in"
    assert refused.value.instead.startswith("write a budget 2.5 times as large")


def test_a_slow_first_step_is_no_pace() -> None:
    follow("100s", 0.001, 2, slow_start=0.4).end(record(9, 1.0, 1200))


def test_what_misses_by_less_is_refused_at_the_end() -> None:
    whole = follow("100s", 0.02, 18)
    with pytest.raises(InputError, match=r"0\.9 of an epoch"):
        whole.end(record(50, 1.0, 900))
    whole.end(record(50, 1.0, 1000))  # a last batch of one image is dropped


def test_passes_are_judged_at_the_end_too_since_validations_take_some() -> None:
    whole = FirstEpochCheck(stage("5E"), IMAGES)
    whole.add(record(1, 0.3, 128))
    with pytest.raises(InputError) as refused:
        whole.end(replace(record(4, 1.0, 512), validating=3.5))
    assert refused.value.seen == (
        "a budget of which finetune gets 5E, which is 0.51 of an epoch in addition to the 3.5E of validations"
    )
    assert refused.value.instead == (
        "write a budget 1.95 times as large, or fewer steps in the training attack, "
        "or fewer validations: Recipe(validations=1)"
    )
    whole.end(record(8, 1.0, 1001))


def test_a_budget_in_passes_is_refused_where_the_rest_can_no_longer_reach_an_epoch() -> None:
    """One pass an image and 0.35E for each of three validations, in 1.5E: 0.6 of an epoch at their pace."""

    def seen(step: int, examples: int, validations: int) -> StepRecord:
        passes, validating = examples / (IMAGES - 1), 0.35 * validations
        spent = passes + validating
        return replace(record(step, spent / 1.5, examples), passes=spent, validating=validating)

    whole = FirstEpochCheck(stage("1.5E"), IMAGES)
    for step in range(1, 7):
        whole.add(seen(step, 50 * step, 1))  # 1.15E would pay for the epoch
    with pytest.raises(InputError, match=r"0\.\d+ of an epoch in addition to the 0\.7E of validations"):
        whole.add(seen(7, 350, 2))  # 0.8E are left of 1.5


@pytest.mark.parametrize("validations", [1, 3, 10, 100])
@pytest.mark.parametrize("held_out", [1, 20, 100])
@pytest.mark.parametrize("size", [1, 8, 50])
@pytest.mark.parametrize("dearer", [1, 2, 33])
def test_what_is_left_for_training_is_never_more_than_the_bound(
    validations: int, held_out: int, size: int, dearer: int
) -> None:
    """Against the loop's own rule for when a validation is due, at any cost of a validation."""
    images, each, amount = 100, 3.0, 6.0
    given = replace(stage(f"{amount}E"), validations=validations)
    step, cost = size * each / images, dearer * held_out / 3 / images
    spent = trained = validated = 0.0
    while spent < amount:
        spent, trained = spent + step, trained + step
        due = int(min(1.0, spent / amount) * validations)
        if due > validated or spent >= amount:
            validated, spent = due, spent + cost
    bound = left_for_training(given, images, held_out, step / amount)
    assert trained <= bound * amount * (1 + 1e-9) or bound == 1.0
    assert 0 < bound <= 1


def test_epochs_are_what_they_are_called_and_no_step_is_no_answer() -> None:
    follow("3epochs", 0.1, 1).end(record(10, 1.0, 10))
    FirstEpochCheck(stage("100s"), IMAGES).end(None)


def test_another_process_may_have_made_the_last_step() -> None:
    last = replace(record(50, 1.0, 20), passes=3.0)
    with pytest.raises(InputError, match="at least one epoch"):
        FirstEpochCheck(stage("100s"), IMAGES).end(last)


def test_an_epoch_of_replayed_batches_reads_each_image_once() -> None:
    free = replace(stage("5E"), objective=FreeAdversarialTraining(replays=4))
    whole = FirstEpochCheck(free, IMAGES)
    whole.end(record(8, 1.0, 4000))
    with pytest.raises(InputError) as refused:
        whole.end(record(8, 1.0, 2000))
    assert refused.value.seen == "a budget of which finetune gets 5E, which is 0.5 of an epoch"
    assert refused.value.instead == "write a budget 2 times as large, or fewer replays"
