"""Settings, data, recipe and model of a run from training to certificate, loaded and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch

from harden.data import Examples, Source, Splits, unlabelled
from harden.data.sources.in_memory import ExamplesSource
from harden.evaluation import Attempt, RadiusSearch
from harden.evaluation.suite_lookup import SuiteChoice
from harden.hardening.recipes.recipe import Recipe
from harden.hardening.run_stages import held_out_of
from harden.models import Classifier
from harden.threats import Threat
from harden.training import Budget


@final
@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings of a run that need no data.

    Attributes:
        threat: the threat model to harden against and to evaluate under.
        budget: of training.
        suite: the name of the suite of attacks, with the steps and restarts of `pgd`.
        attempts: the attacks of this name.
        device: on which the network is trained.
        search: for proofs; None for none.
        minutes: the limit of the evaluation of the exported file; None for none.
        bfloat16: whether training attacks use gradients of a bfloat16 copy.
        auto_batch: whether a batch that does not fit into memory is halved.
        seed: of everything random.
    """

    threat: Threat
    budget: Budget
    suite: SuiteChoice
    attempts: tuple[Attempt, ...]
    device: torch.device
    search: RadiusSearch | None = None
    minutes: float | None = None
    bfloat16: bool = False
    auto_batch: bool = False
    seed: int = 0


@final
@dataclass(frozen=True, slots=True, eq=False)
class RunInputs:
    """The inputs of a run that can begin.

    Attributes:
        settings: the settings that need no data.
        splits: the data, without leaks.
        test: images for the evaluation.
        recipe: the recipe of training.
        model: the classifier, on the CPU.
        batch_size: images at a time in training.
        dropped: the number of training images left out because they are test images.
        unlabelled: images for pretraining in place of the training images, or None.
        trained: whether the model came with weights of its own, so that the certificate compares with it.
        notes: texts to keep next to the weights, by file name.
    """

    settings: RunSettings
    splits: Splits
    test: Examples
    recipe: Recipe
    model: Classifier
    batch_size: int
    dropped: int = 0
    unlabelled: Examples | None = None
    trained: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def held_out(self) -> int:
        """The number of training images that choose the checkpoint; approximate where there are no groups."""
        n = len(self.splits.train)
        if self.splits.train.groups is not None:
            return len(held_out_of(self.source(), self.recipe, self.settings.seed)[1])
        return round(n * min(self.recipe.held_out, self.recipe.held_out_limit / n))

    @property
    def trained_on(self) -> int:
        """The approximate number of images that are trained on: E counts passes for each of these."""
        return len(self.splits.train) - self.held_out

    def source(self) -> ExamplesSource:
        """The training images in batches."""
        return ExamplesSource(self.splits.train, self.batch_size)

    def unlabelled_source(self) -> Source | None:
        """The images for pretraining in batches."""
        return None if self.unlabelled is None else unlabelled(self.unlabelled, self.batch_size)
