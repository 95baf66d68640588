"""Pre-flight checks of model, data and budget before training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harden.check_pixels import check_pixels
from harden.data import Source
from harden.errors import InputError
from harden.evaluation.judge_outputs import check_answer
from harden.models import Classifier, untouched
from harden.objectives import ChecksFirst, KeepsImages, Objective
from harden.objectives.awp import without_wrappers
from harden.objectives.objective import replays_of
from harden.threats import Threat
from harden.training.minimum_budget import left_for_training
from harden.training.stage import Stage, StepRecord, image_shape

_ROUNDING = 64 * 2.0**-23


def check_fit(model: Classifier, source: Source, *, learns: bool = True) -> None:
    """Check all labels, and the model's output on two images.

    Args:
        model: the classifier.
        source: the images.
        learns: whether the model is trained on them; an evaluation may have one class.

    Raises:
        InputError: pixels, shapes or labels do not fit the model, or training data has one class only.
    """
    batch = next(iter(source.epoch(None)), None)
    if batch is None:
        raise InputError("no examples", "at least one batch", "check the loader's data set and drop_last")
    check_pixels(batch.x)
    _check_range(batch.x)
    labels = _labels(source)
    batch = batch.to(model.device)
    with untouched(model):
        for n in (2, 1):  # a network that squeezes its output fails on a single image alone
            check_answer(model.logits, batch.x[:n], labels)
    if learns and int(labels.min()) == int(labels.max()):
        raise InputError(
            f"{len(labels):,} labels that are all {int(labels[0])}",
            "examples of at least two classes",
            "check how labels are read, or whether the set is sorted by class and was cut",
        )


def _check_range(x: Tensor) -> None:
    """Raise InputError for pixels within the first step of 8 bits: divided twice by 255, or 0 and 1."""
    high = float(x.max())
    if 0 < high <= 1 / 255 + 1e-9:
        raise InputError(
            f"pixels up to {high:.3g}",
            "images in [0, 1]",
            "remove the second division by 255, or pass 0 and 1 as float32",
        )


def check_objective(objective: Objective, model: Classifier, source: Source, threat: Threat) -> None:
    """Call the objective's own checks, where it has any.

    Raises:
        InputError: the network or the threat is unfit for it, or its state would take too much memory.
    """
    inner = without_wrappers(objective)
    if not isinstance(objective, ChecksFirst) and not isinstance(inner, KeepsImages):
        return
    shape = image_shape(source)  # reads a batch
    if isinstance(objective, ChecksFirst):
        objective.check(model, shape, threat)
    if isinstance(inner, KeepsImages):
        inner.check_size(len(source), shape)


@torch.no_grad()
def check_repeatable(model: Classifier, source: Source) -> None:
    """Compare two forwards of the model, since one with random outputs in inference mode can't be exported.

    Raises:
        InputError: its logits differ.
    """
    x = next(iter(source.epoch(None))).to(model.device).x[:2]
    with untouched(model):
        first, again = model.logits(x), model.logits(x)
    apart = float((first - again).abs().max())
    if apart > _ROUNDING * max(float(first.abs().max()), 1e-30):
        raise InputError(
            f"a network whose logits differ by {apart:.3g} between two forwards",
            "the same logits for the same images",
            "remove randomness or training-mode layers from the network's forward",
        )


def check_budget(stage: Stage, source: Source, record: StepRecord, held_out: int = 0) -> None:
    """Check by the cost of one step that the budget reaches an epoch.

    Args:
        stage: the stage with its budget; one in seconds can't be predicted, and is not checked.
        source: the images of the stage.
        record: record of the first step.
        held_out: images of each validation, which a budget in E pays for; 0 for none.

    Raises:
        InputError: the budget is certainly below one epoch; the message gives one that is not.
    """
    images, unit, amount = stage.images or len(source), stage.budget.unit, stage.budget.amount
    if unit == "s":
        return
    # A budget in epochs is the number of epochs.
    step = (record.passes - record.validating) * (unit == "E")
    replays = replays_of(stage.objective)
    epoch = (step / record.examples if step else 1 / images) * len(source) * replays
    validating = amount * (1.0 - left_for_training(stage, images, held_out, step / amount))
    if amount - validating < epoch * (1 - 1e-9):
        extra = f" and its validations at least {validating:.2g}E" if validating else ""
        raise InputError(
            f"a budget of which {stage.name} gets {stage.budget}, where one epoch costs {epoch:.3g}{unit}"
            f"{extra}",
            "at least one epoch to fine-tune in",
            f"write a budget {(epoch + validating) / amount:.3g} times as large, "
            + ("or fewer replays" if replays > 1 else "or fewer steps in the attack")
            + (", or fewer validations" if validating else ""),
        )


def _labels(source: Source) -> Tensor:
    """Return all labels of a source, int64 (N,), without reading images where that is possible."""
    labels: Callable[[], Tensor] | None = getattr(source, "labels", None)
    return labels() if labels is not None else torch.cat([batch.y for batch in source.epoch(None)])


def no_batch(source: Source) -> InputError:
    """Make the error for an epoch without a step: batches of one, or dropped by drop_last."""
    n, size = len(source), source.batch_size
    dropped = getattr(source, "drop_last", False) and 1 < n < size
    return InputError(
        f"{n} training images in batches of {size}" + (" with drop_last" if dropped else ""),
        "at least one batch of two images",
        "pass a smaller batch size, or drop_last=False"
        if dropped
        else "pass more images, or a larger batch size",
    )
