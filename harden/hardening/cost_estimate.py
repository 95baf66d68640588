"""Estimates of what a run costs, from short measurements on a copy of its network."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, final

from harden.errors import InputError
from harden.evaluation.evaluation_cost import EvaluationPace, evaluation_pace
from harden.evaluation.suite_cost import closing_passes, passes_at_most
from harden.evaluation.trust.probes import PASSES, PROBED
from harden.hardening.recipe import stages
from harden.hardening.run_inputs import RunInputs
from harden.models import float32_copy
from harden.models.out_of_memory import ran_out_of_memory
from harden.objectives.objective import replays_of
from harden.training import Budget, Stage
from harden.training.cost_probe import StageSpeed, measure_speed, peak_memory
from harden.training.minimum_budget import CLEARLY, left_for_training, too_small

_CURVE_STEPS, _CURVE_POINTS = 20, 5


@final
@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The expected cost of a part of a run; a bound where it depends on how many images stay unbroken."""

    name: str
    passes: float
    passes_per_second: float
    seconds: float
    bound: bool = False


@final
@dataclass(frozen=True, slots=True)
class RunEstimate:
    """The expected cost of a run.

    Attributes:
        parts: pretraining, fine-tuning and evaluation.
        memory: the most bytes held so far, by the process (CPU) or on the device (CUDA).
    """

    parts: tuple[CostEstimate, ...]
    memory: int

    @property
    def passes(self) -> float:
        """Of all parts."""
        return sum(part.passes for part in self.parts)

    @property
    def seconds(self) -> float:
        """Of all parts."""
        return sum(part.seconds for part in self.parts)

    def as_json(self) -> dict[str, Any]:
        """The estimate as JSON."""
        return {
            "by": "a short measurement on a copy",
            "stages": [asdict(part) for part in self.parts],
            "passes": self.passes,
            "seconds": self.seconds,
            "memory_bytes": self.memory,
        }


def estimate(run: RunInputs) -> RunEstimate:
    """Measure a few steps of each stage and of the evaluation on a copy, and extrapolate.

    Raises:
        InputError: a batch does not fit into memory, or the budget is too small for an epoch.
    """
    settings = run.settings
    model = float32_copy(run.model).to(settings.device)
    found = []
    try:
        evaluation = evaluation_pace(
            model, run.test, settings.threat, run.batch_size, settings.attempts[0].precision
        )
        for number, stage in enumerate(stages(run.recipe, settings.budget)):
            source = run.source() if stage.name == "finetune" else run.unlabelled_source() or run.source()
            measured = measure_speed(replace(stage, images=run.trained_on), model, source, settings.threat)
            found.append(_stage(stage, number, measured, evaluation, run))
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise InputError(
            f"batches of {run.batch_size} images, which do not fit into memory",
            "a batch that fits",
            f"write --batch-size {max(run.batch_size // 2, 2)}, or --auto-batch to have it found",
        ) from None
    found.append(_evaluation(run, evaluation))
    return RunEstimate(tuple(found), peak_memory(settings.device))


def _stage(
    stage: Stage, number: int, measured: StageSpeed, evaluation: EvaluationPace, run: RunInputs
) -> CostEstimate:
    whole, images = run.settings.budget, run.trained_on
    budget = whole.part(1 - run.recipe.pretrain_share) if number else stage.budget
    passes = _passes(budget, measured, images)
    epochs = passes / (measured.passes_per_image * images * replays_of(stage.objective))
    if stage.name == "finetune":
        _check_an_epoch(replace(stage, budget=budget, images=images), epochs, run)
    seconds = passes / measured.passes
    on_top = stage.name == "finetune" and budget.unit == "epochs"
    if on_top:
        # Validation comes on top of epochs; in a budget of passes or seconds it is within.
        extra = run.recipe.validations * run.held_out * evaluation.per_image(steps=10, restarts=1) / 2
        passes, seconds = passes + extra, seconds + extra / evaluation.passes
    return CostEstimate(stage.name, passes, measured.passes, seconds, on_top)


def _check_an_epoch(stage: Stage, epochs: float, run: RunInputs) -> None:
    """Refuse a budget that pays for too few epochs; in E, including the least that its validations take."""
    held_out = run.held_out if stage.validations else 0
    # A step of a batch: at most so much of the budget as the batch is of all its epochs.
    step = min(1.0, run.batch_size / (epochs * stage.images))
    left = left_for_training(stage, stage.images, held_out, step)
    # In seconds it is an estimate, and the run itself refuses what misses by less.
    if epochs * left < (CLEARLY if stage.budget.unit == "s" else 1 - 1e-6):
        raise too_small(stage, epochs * left, stage.budget.amount * (1 - left))


def _passes(budget: Budget, measured: StageSpeed, images: int) -> float:
    if budget.unit == "s":
        return budget.amount * measured.passes
    each = 1.0 if budget.unit == "E" else measured.passes_per_image
    return budget.amount * images * each


def _evaluation(run: RunInputs, evaluation: EvaluationPace) -> CostEstimate:
    """All attempts on all test images, as if none broke an image before the next; curve and probes too."""
    curve = evaluation.per_image(_CURVE_STEPS, 1) / 2 * _CURVE_POINTS
    models = 2 if run.trained else 1
    probes = min(len(run.test), PROBED) * PASSES * models
    passes = len(run.test) * (_suite(run, evaluation) * models + curve) + probes
    return CostEstimate("evaluation", passes, evaluation.passes, passes / evaluation.passes, True)


def _suite(run: RunInputs, evaluation: EvaluationPace) -> float:
    """Passes of all attempts on an image that none breaks: measured for PGD, counted for other suites."""
    suite, attempts, classes = run.settings.suite, run.settings.attempts, len(run.test.classes)
    if suite.attacks != "pgd":
        return passes_at_most(attempts, classes)
    return evaluation.per_image(suite.steps, suite.restarts) + closing_passes(attempts, classes)
