"""Protocol of training objectives: their state, and the values that the loop passes at each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn

from harden.data import Batch
from harden.draws import Draws, mix
from harden.models import Classifier
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Values that the loop passes to an objective.

    Args:
        number: optimiser steps of this stage so far.
        progress: share of the stage's budget that is spent, in [0, 1].
        threat: the threat model at this moment; its eps ramps up from 0.
        seed: the stage's seed.
        generator: for views, on the batch's device.
        share: of its full eps that the threat has at this moment, in [0, 1].
        bfloat16: whether the pass that trains the weights, and attacks on a fast copy, compute in bfloat16.
    """

    number: int
    progress: float
    threat: Threat
    seed: int
    generator: torch.Generator
    share: float = 1.0
    bfloat16: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        """The context of the pass that trains the weights: torch's autocast to bfloat16, or none.

        Weights, their gradients, images and perturbations are float32 in either case.
        """
        kind = self.generator.device.type
        return torch.autocast(kind, torch.bfloat16) if self.bfloat16 else nullcontext()

    def draws(self, index: Tensor) -> Draws:
        """Random starts for the examples with these ids, new at every step: ids int64 (N,)."""
        return Draws(mix(self.seed, self.number), index)


class Objective(Protocol):
    """A frozen value of numbers and such values, so that a certificate can hold it."""

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The state for training `model` on `n` images: heads, queue, momentum encoder; checkpointed."""
        ...

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The loss of a batch, a scalar."""
        ...


@runtime_checkable
class ChecksFirst(Protocol):
    """An objective that can say before any training what it can't train."""

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """Raise an InputError where the network or the threat is unfit; the model stays as it is."""
        ...


@runtime_checkable
class KeepsImages(Protocol):
    """An objective whose state has a tensor of an image's shape for each training image."""

    def check_size(self, n: int, image_shape: tuple[int, int, int]) -> None:
        """Raise an InputError where these tensors take too much memory; called before any training."""
        ...

    def start_with(self, model: Classifier, n: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """As `start`, for images (C, H, W): the state has all of its tensors, as checkpoints need it."""
        ...


@runtime_checkable
class KeepsBatch(Protocol):
    """An objective whose state has tensors in the shape of a batch or of an image."""

    def start_on(self, model: Classifier, batch_shape: tuple[int, int, int, int]) -> nn.Module:
        """As `start`, for batches of up to this shape (N, C, H, W): the state has all of its tensors."""
        ...


@runtime_checkable
class ReplaysBatches(Protocol):
    """An objective that gets each batch several times in a row, for a step of the optimiser each.

    All replays of a batch have the same `Step.generator`, and so the same views.
    """

    @property
    def replays(self) -> int:
        """How often each batch comes in a row, 1 or more."""
        ...


def replays_of(objective: Objective) -> int:
    """How often in a row the training loop passes each batch to the objective."""
    return objective.replays if isinstance(objective, ReplaysBatches) else 1


def replayed(objective: Objective, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Iterate over the batches of an epoch, each as often in a row as the objective replays it."""
    for batch in batches:
        yield from repeat(batch, replays_of(objective))


def views_of_step(objective: Objective, seed: int, number: int, device: torch.device) -> torch.Generator:
    """The generator for the views of a step: one stream for each batch, which its replays share."""
    return torch.Generator(device).manual_seed(mix(seed, 2, number // replays_of(objective)) >> 1)


@runtime_checkable
class UpdatesWithStep(Protocol):
    """A state that has something to do after each step of the optimiser (a momentum encoder, a queue)."""

    def after_step(self, step: Step) -> None:
        """Called without gradient, once the weights have moved."""
        ...


@runtime_checkable
class AttacksWithFewSteps(Protocol):
    """An objective whose attack may be too weak to train against, and that has a stronger version."""

    def stronger(self) -> Objective | None:
        """The objective with more steps of its attack; None where they are enough."""
        ...


def stronger(objective: Objective) -> Objective | None:
    """The objective with more steps of its attack; None where it has enough, or no attack with steps."""
    return objective.stronger() if isinstance(objective, AttacksWithFewSteps) else None


@final
class ClassifierState(nn.Module):
    """The state of objectives that need no more than the classifier itself."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier


def classifier_of(state: nn.Module) -> Classifier:
    """The classifier that a state holds."""
    classifier = state.classifier
    if not isinstance(classifier, Classifier):
        raise TypeError(
            f"a state holds a Classifier as .classifier; this one holds a {type(classifier).__name__}"
        )
    return classifier
