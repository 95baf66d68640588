"""A stage of training, how it is validated, and what the loop yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Source
from harden.errors import InputError
from harden.evaluation import Attempt
from harden.losses import Margin
from harden.models import Classifier
from harden.models.snapshot import Snapshot
from harden.objectives import KeepsBatch, KeepsImages, Objective
from harden.objectives.awp import without_wrappers
from harden.threats import Threat
from harden.training.budget import Budget
from harden.training.guards.guard_options import Guards
from harden.training.optimisers import AdamW, Optimiser
from harden.training.schedules import Cosine, Schedule
from harden.training.weights.weight_averaging import Averaging, TailAverage

# The margin, not the cross-entropy, which flatters networks with small logits, pretrained ones above all.
VALIDATION_ATTEMPTS = (Attempt("pgd-10-margin", PGD(steps=10, stop_early=True), Margin),)


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """One objective and how long, how fast and against what it is minimised.

    Args:
        name: under which its cost and history are reported.
        objective: what is minimised.
        budget: what the stage may spend.
        optimiser: with the peak learning rate.
        schedule: factor on the peak learning rate as a function of the share of the budget that is spent.
        ramp: share of the budget over which eps rises from 0; without it a network that is not robust yet
            collapses to a constant.
        average: decay of the weights' moving average, which is what is validated and kept, or a `TailAverage`
            in its place; 0 for none.
        validations: how often robust accuracy is measured on held-out images, at most; the best weights are
            kept.
        validation_share: of the stage's passes that validations may take; earlier ones are left out first.
            The one at the end is always made.
        clip: the gradient's largest length.
        guards: against a loss that is not finite and catastrophic overfitting.
        bfloat16: whether objectives that use `Step.autocast` compute in bfloat16, where the network can;
            weights, their gradients and perturbations stay float32.
        images: how many images the budget's E and epochs refer to; those of the source by default. A stage on
            other images (unlabelled ones, say) is measured in the same unit as the rest of its run.
    """

    name: str
    objective: Objective
    budget: Budget
    optimiser: Optimiser = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=Cosine)
    ramp: float = 0.3
    average: Averaging = 0.99
    validations: int = 10
    validation_share: float = 1.0
    clip: float = 5.0
    guards: Guards = field(default_factory=Guards)
    bfloat16: bool = False
    images: int = 0

    def __post_init__(self) -> None:
        check_numbers(self.ramp, self.average, self.clip, self.validations)


def started(objective: Objective, model: Classifier, source: Source) -> nn.Module:
    """The objective's state for training on a source."""
    inner = without_wrappers(objective)  # whose state is that of the whole
    if isinstance(inner, KeepsImages):
        return inner.start_with(model, len(source), image_shape(source))
    if isinstance(inner, KeepsBatch):
        return inner.start_on(model, (source.batch_size, *image_shape(source)))
    return objective.start(model, len(source))


def image_shape(source: Source) -> tuple[int, int, int]:
    """The shape (C, H, W) of the source's first images."""
    channels, height, width = next(iter(source.epoch(None))).x.shape[1:]
    return channels, height, width


def check_numbers(ramp: float, average: Averaging, clip: float, validations: int) -> None:
    """Refuse numbers of a stage that are out of their range.

    Raises:
        InputError: the ramp is outside [0, 1], the decay of the average outside [0, 1), the largest length of
            the gradient not positive, or the number of validations negative.
    """
    if not (0 <= ramp <= 1 and (isinstance(average, TailAverage) or 0 <= average < 1)):
        seen = f"ramp {ramp}, average {average}"
        raise InputError(seen, "a share in [0, 1], a decay in [0, 1)", "write ramp=0.3, average=0.99")
    if not clip > 0 or validations < 0:
        seen = f"a clip of {clip} and {validations} validations"
        raise InputError(seen, "a positive length, a count", "write clip=5.0, validations=5")


@final
@dataclass(frozen=True, slots=True, eq=False)
class CleanLimit:
    """A limit on the loss of clean accuracy, measured on the held-out images.

    Args:
        drop: the largest loss of clean accuracy, in [0, 1).
        original: weights and buffers of the network before training, by name. They are measured first, and
            kept where no later ones are within the limit and more robust.
    """

    drop: float
    original: Mapping[str, Tensor]


@final
@dataclass(frozen=True, slots=True)
class Validation:
    """Held-out images that choose the checkpoint: never trained on, never in the certificate's test set.

    Args:
        source: the images.
        threat: against which they are attacked.
        attempts: how.
        seed: of the attacks.
        limit: on the loss of clean accuracy; None for none.
    """

    source: Source
    threat: Threat
    attempts: tuple[Attempt, ...] = VALIDATION_ATTEMPTS
    seed: int = 0
    limit: CleanLimit | None = None


@final
@dataclass(frozen=True, slots=True)
class StageOptions:
    """Validation, seed and snapshot with which a stage is run."""

    validation: Validation | None
    seed: int
    start: Snapshot | None


def weighted_share(bits: Tensor, labels: Tensor, class_weights: tuple[float, ...]) -> float:
    """sum_i w_{y_i} b_i / sum_i w_{y_i}; the plain mean where all weights are 0.

    Args:
        bits: bool (n,).
        labels: int64 (n,).
        class_weights: w, one for each class. A network that calls everything the largest class
            scores well in the plain mean, which would choose it over every one that has learnt the others.
    """
    weights = torch.tensor(class_weights, dtype=torch.float64)[labels]
    whole = float(weights.sum())
    return float(weights[bits].sum()) / whole if whole > 0 else int(bits.sum()) / len(bits)


@final
@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of the optimiser.

    Attributes:
        stage: the stage's name.
        step: steps of this stage so far.
        progress: share of the stage's budget spent.
        passes: E of this stage so far, passes per training image (of `Stage.images`).
        seconds: since the stage began.
        loss: the objective's value on the batch.
        learning_rate: used in this step.
        eps: the threat's budget in this step.
        clean: accuracy on the held-out images, where it was measured at this step; where the objective
            weighs classes, each image counts with the weight of its class.
        robust: accuracy under the validation attack there.
        best: whether these are the best weights so far.
        examples: images of this stage that went through the optimiser so far.
        validating: those of `passes` that validations took.
        event: what a guard did at this step, and why; "" for nothing.
    """

    stage: str
    step: int
    progress: float
    passes: float
    seconds: float
    loss: float
    learning_rate: float
    eps: float
    clean: float | None = None
    robust: float | None = None
    best: bool = False
    examples: int = 0
    validating: float = 0.0
    event: str = ""
