"""The look at data and model together that costs nothing, before training costs much."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harden.data import Source
from harden.errors import InputError
from harden.evaluation.judge import check_answer
from harden.models import Classifier, untouched
from harden.objectives import ChecksFirst, Objective
from harden.pixels import check_pixels
from harden.threats import Threat
from harden.training.minimum_budget import left_for_training
from harden.training.stage import Stage, StepRecord

_ROUNDING = 64 * 2.0**-23


def check_fit(model: Classifier, source: Source, *, learns: bool = True) -> None:
    """Look at all labels and run two images through the model, so that what is unfit costs nothing.

    Args:
        model: the classifier.
        source: of images.
        learns: whether the model is to learn from them; an evaluation may be of one class.

    Raises:
        InputError: pixels, shapes or labels do not fit the model, or there is but one class to learn.
    """
    batch = next(iter(source.epoch(None)), None)
    if batch is None:
        raise InputError("no examples", "at least one batch", "check the loader's data set and drop_last")
    check_pixels(batch.x)
    _check_range(batch.x)
    labels = _labels(source)
    batch = batch.to(model.device)
    with untouched(model):
        for n in (2, 1):  # a network that squeezes its answer fails on a single image alone
            check_answer(model.logits, batch.x[:n], labels)
    if learns and int(labels.min()) == int(labels.max()):
        raise InputError(
            f"{len(labels):,} labels that are all {int(labels[0])}",
            "examples of at least two classes",
            "check how labels are read, or whether the set is sorted by class and was cut",
        )


def _check_range(x: Tensor) -> None:
    """Refuse pixels that all lie in the first step of 8 bits: they were divided twice, or are 0 and 1."""
    high = float(x.max())
    if 0 < high <= 1 / 255 + 1e-9:
        raise InputError(
            f"pixels up to {high:.3g}",
            "images in [0, 1]",
            "look for a second division by 255, or pass 0 and 1 as float32",
        )


def check_objective(objective: Objective, model: Classifier, source: Source, threat: Threat) -> None:
    """Ask an objective that knows what it can't train; of others nothing is asked.

    Raises:
        InputError: the network or the threat is unfit for it.
    """
    if isinstance(objective, ChecksFirst):
        channels, height, width = next(iter(source.epoch(None))).x.shape[1:]
        objective.check(model, (channels, height, width), threat)


@torch.no_grad()
def check_repeatable(model: Classifier, source: Source) -> None:
    """Ask the model twice: one that answers otherwise in inference mode could be trained and not exported.

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
            "look for randomness or training-mode layers in the network's forward",
        )


def check_budget(stage: Stage, source: Source, record: StepRecord, held_out: int = 0) -> None:
    """Look at the cost of a step: a stage that ends before it has seen each image once trains on a part.

    Args:
        stage: whose budget is looked at; one in seconds can't be foretold, and passes.
        source: the images of the stage.
        record: of the first step.
        held_out: images of each validation, which a budget in E pays for; 0 for none.

    Raises:
        InputError: the budget is certainly below one epoch, with one that is not.
    """
    images, unit, amount = stage.images or len(source), stage.budget.unit, stage.budget.amount
    if unit == "s":
        return
    # Epochs cost what they are called.
    step = (record.passes - record.validating) * (unit == "E")
    epoch = (step / record.examples if step else 1 / images) * len(source)
    validating = amount * (1.0 - left_for_training(stage, images, held_out, step / amount))
    if amount - validating < epoch * (1 - 1e-9):
        beside = f" and its validations at least {validating:.2g}E" if validating else ""
        raise InputError(
            f"a budget of which {stage.name} gets {stage.budget}, where one epoch costs {epoch:.3g}{unit}"
            f"{beside}",
            "at least one epoch to fine-tune in",
            f"write a budget {(epoch + validating) / amount:.3g} times as large, "
            "or fewer steps in the attack" + (", or fewer validations" if validating else ""),
        )


def _labels(source: Source) -> Tensor:
    """All labels of a source, int64 (N,): without reading images where that can be."""
    labels: Callable[[], Tensor] | None = getattr(source, "labels", None)
    return labels() if labels is not None else torch.cat([batch.y for batch in source.epoch(None)])


def no_batch(source: Source) -> InputError:
    """Say why an epoch had no step: batches of one, or one that drop_last leaves out."""
    n, size = len(source), source.batch_size
    dropped = getattr(source, "drop_last", False) and 1 < n < size
    return InputError(
        f"{n} training images in batches of {size}" + (" with drop_last" if dropped else ""),
        "at least one batch of two images",
        "pass a smaller batch size, or drop_last=False"
        if dropped
        else "pass more images, or a larger batch size",
    )
