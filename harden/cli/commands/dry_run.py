"""harden run --dry-run: the plan, and what it will cost by a short measurement."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, final

from harden.cli.loading.check_exportable import check_export, exportability_as_json
from harden.cli.loading.evaluation_cost import EvaluationPace, evaluation_pace
from harden.cli.loading.fit_batch_size import fitted
from harden.cli.loading.prepare_run import Ready, prepare
from harden.cli.options.run_options import Choice
from harden.cli.output.console import print_kernels, say, say_table, write_json
from harden.cli.output.run_summary import inputs_as_json, print_inputs
from harden.errors import InputError
from harden.evaluation.suite_cost import closing_passes, passes_at_most
from harden.evaluation.trust.probes import PASSES, PROBED
from harden.hardening import stages
from harden.models import float32_copy
from harden.models.out_of_memory import ran_out_of_memory
from harden.training import Budget, Stage
from harden.training.cost_probe import StageSpeed, measure_speed, peak_memory
from harden.training.minimum_budget import CLEARLY, left_for_training, too_small

_CURVE_STEPS, _CURVE_RUNGS = 20, 5


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """What a part of a run is expected to cost; a bound where it depends on how many images stand."""

    name: str
    passes: float
    passes_per_second: float
    seconds: float
    bound: bool = False


def plan(choice: Choice) -> int:
    """Print what `harden run` would do and cost; train on a copy, write nothing but --json."""
    ready = prepare(choice)
    if choice.auto_batch:
        ready = fitted(ready, None)
    print_inputs(choice, ready)
    print_kernels(ready.options.device)
    export = exportability_as_json(check_export(ready))
    _print_options(choice)
    estimates, memory = _measured(choice, ready)
    _print_estimates(estimates, memory, ready)
    write_json(choice.json_file, {**_as_json(choice, ready, estimates, memory), "export": export})
    return 0


def _measured(choice: Choice, ready: Ready) -> tuple[list[Estimate], int]:
    model = float32_copy(ready.model).to(ready.options.device)
    threat, found = ready.options.threat, []
    try:
        evaluation = evaluation_pace(
            model, ready.test, threat, ready.batch_size, ready.options.attempts[0].precision
        )
        for number, stage in enumerate(stages(ready.recipe, ready.options.budget)):
            images = ready.trained_on
            source = (
                ready.source() if stage.name == "finetune" else ready.unlabelled_source() or ready.source()
            )
            measured = measure_speed(replace(stage, images=images), model, source, threat)
            found.append(_stage(stage, number, measured, evaluation, ready))
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise InputError(
            f"batches of {ready.batch_size} images, which do not fit into memory",
            "a batch that fits",
            f"write --batch-size {max(ready.batch_size // 2, 2)}, or --auto-batch to have it found",
        ) from None
    found.append(_evaluation(choice, ready, evaluation))
    return found, peak_memory(ready.options.device)


def _stage(
    stage: Stage, number: int, measured: StageSpeed, evaluation: EvaluationPace, ready: Ready
) -> Estimate:
    whole, images = ready.options.budget, ready.trained_on
    budget = whole.part(1 - ready.recipe.pretrain_share) if number else stage.budget
    passes = _passes(budget, measured, images)
    epochs = passes / (measured.passes_per_image * images)
    if stage.name == "finetune":
        _check_an_epoch(replace(stage, budget=budget, images=images), epochs, ready)
    seconds = passes / measured.passes
    beside = stage.name == "finetune" and budget.unit == "epochs"
    if beside:
        # Validation comes on top of epochs; in a budget of passes or seconds it is within.
        extra = ready.recipe.validations * ready.held_out * evaluation.per_image(steps=10, restarts=1) / 2
        passes, seconds = passes + extra, seconds + extra / evaluation.passes
    return Estimate(stage.name, passes, measured.passes, seconds, beside)


def _check_an_epoch(stage: Stage, epochs: float, ready: Ready) -> None:
    """Refuse a budget that pays for too few epochs; in E, beside the least that its validations take."""
    held_out = ready.held_out if stage.validations else 0
    # A step of a batch: at most so much of the budget as the batch is of all its epochs.
    step = min(1.0, ready.batch_size / (epochs * stage.images))
    left = left_for_training(stage, stage.images, held_out, step)
    # In seconds it is an estimate, and the run itself refuses what misses by less.
    if epochs * left < (CLEARLY if stage.budget.unit == "s" else 1 - 1e-6):
        raise too_small(stage, epochs * left, stage.budget.amount * (1 - left))


def _passes(budget: Budget, measured: StageSpeed, images: int) -> float:
    if budget.unit == "s":
        return budget.amount * measured.passes
    each = 1.0 if budget.unit == "E" else measured.passes_per_image
    return budget.amount * images * each


def _evaluation(choice: Choice, ready: Ready, evaluation: EvaluationPace) -> Estimate:
    """All attempts on all test images, as if none broke an image before the next; curve and probes too."""
    suite = _suite(choice, ready, evaluation)
    curve = evaluation.per_image(_CURVE_STEPS, 1) / 2 * _CURVE_RUNGS
    models = 2 if ready.spec.weights or ready.spec.folder else 1
    probes = min(len(ready.test), PROBED) * PASSES * models
    passes = len(ready.test) * (suite * models + curve) + probes
    return Estimate("evaluation", passes, evaluation.passes, passes / evaluation.passes, True)


def _suite(choice: Choice, ready: Ready, evaluation: EvaluationPace) -> float:
    """Passes of all attempts on an image that none breaks: measured for PGD, counted for other suites."""
    attempts, classes = ready.options.attempts, len(ready.test.classes)
    if choice.attacks != "pgd":
        return passes_at_most(attempts, classes)
    closing = closing_passes(attempts, classes)
    return evaluation.per_image(choice.steps, choice.restarts) + closing


def _print_options(choice: Choice) -> None:
    """Print where options came from, where a file was given."""
    if choice.config is None:
        return
    for word, text in (("file", str(choice.config)), ("flag", "the command line, before the file")):
        names = sorted(name for name, origin in choice.origins.items() if origin == word and name != "config")
        said = ", ".join(name.removesuffix("_file") for name in names)
        say(f"{'options':10}from {text}: {said or 'none'}")


def _print_estimates(estimates: list[Estimate], memory: int, ready: Ready) -> None:
    say()
    say("an estimate, from a few steps on a copy; other work on this machine changes it")
    rows = []
    for each in estimates:
        most = "at most " if each.bound else ""
        costs = (f"{most}{each.passes:,.0f}", f"{each.passes_per_second:,.0f}", f"{most}{each.seconds:,.0f}")
        rows.append((each.name, *costs))
    passes, seconds = sum(each.passes for each in estimates), sum(each.seconds for each in estimates)
    rows.append(("in all", f"{passes:,.0f}", "", f"{seconds:,.0f}"))
    say_table(("stage", "passes", "passes/s", "seconds"), rows, right_from=1)
    where = "on the device" if ready.options.device.type == "cuda" else "of this process, at least"
    say(f"memory {memory / 2**20:,.0f} MiB {where}, in batches of {ready.batch_size}")
    say("nothing was written; without --dry-run the run begins")


def _as_json(choice: Choice, ready: Ready, estimates: list[Estimate], memory: int) -> dict[str, Any]:
    return {
        **inputs_as_json(choice, ready),
        "options": dict(choice.origins),
        "evaluation": {
            "attacks": choice.attacks,
            "steps": choice.steps,
            "restarts": choice.restarts,
            "bfloat16": choice.bfloat16,
        },
        "estimate": {
            "by": "a short measurement on a copy",
            "stages": [asdict(each) for each in estimates],
            "passes": sum(each.passes for each in estimates),
            "seconds": sum(each.seconds for each in estimates),
            "memory_bytes": memory,
        },
    }
