"""Selection of the weights of a stage by robust accuracy on held-out images."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import final

from torch import Tensor

from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.evaluation.suite_cost import given_passes
from harden.models import Classifier
from harden.models.snapshot import Snapshot, prefixed
from harden.system.ranks import ALONE, Ranks
from harden.training.stage import Stage, Validation, weighted_share
from harden.training.weight_averaging import WeightAverage, load_weights, weights_like, weights_of

Score = tuple[bool, float, float]


@final
class CheckpointSelection:
    """The best weights so far, with their score: (reliable, robust accuracy, clean accuracy).

    Several processes evaluate a part of the held-out images each, no image twice, and find the same score.
    """

    def __init__(self, stage: Stage, model: Classifier, validation: Validation, ranks: Ranks) -> None:
        self.stage, self.model, self.validation, self.ranks = stage, model, validation, ranks
        self.best: Score | None = None
        self.weights: dict[str, Tensor] | None = None

    def snapshot(self) -> Snapshot:
        """Return the best weights and their score."""
        tensors = {} if self.weights is None else prefixed("best", self.weights)
        return Snapshot(tensors, {"best": self.best})

    def restore(self, start: Snapshot) -> None:
        """Restore what `snapshot` returned."""
        if start.facts["best"] is not None:
            reliable, robust, clean = start.facts["best"]
            self.best = (reliable, robust, clean)
            self.weights = weights_like(weights_of(self.model), start.part("best"))

    @property
    def divided(self) -> bool:
        """Whether each process evaluates a part of the images: there is one for each at least."""
        return self.ranks.several and len(self.validation.source) >= self.ranks.size

    def largest_cost(self) -> float:
        """Passes of a validation at most: a forward, and attempts that break no image."""
        attempts, images = self.validation.attempts, len(self.validation.source)
        return images * (given_passes(attempts, sys.maxsize) + 1 / 3)

    def measure(self, average: WeightAverage | None) -> tuple[Score, bool]:
        """Measure the present weights, or their average, and keep them if they are the best so far.

        Returns:
            The score, and whether it is the best so far. Clean accuracy decides ties, then the later weights.
        """
        validation = self.validation
        averaged: AbstractContextManager[None] = nullcontext()
        if average is not None:
            averaged = average.applied(self.model)
        with averaged:
            found = evaluate_unchecked(
                self.model,
                validation.source,
                validation.threat,
                validation.attempts,
                seed=validation.seed,
                ranks=self.ranks if self.divided else ALONE,
            )
            # An unreliable robust accuracy ranks below every reliable one.
            robust, clean = found.robust.value, found.clean.value
            if weights := getattr(self.stage.objective, "class_weights", ()):
                robust = weighted_share(found.robust_correct, found.labels, weights)
                clean = weighted_share(found.clean_correct, found.labels, weights)
            score = (found.status == "ok", robust, clean)
            best = self.best is None or score >= self.best
            if best:
                self.best, self.weights = score, weights_of(self.model)
        return score, best

    def load(self) -> bool:
        """Load the best weights into the model, and return whether there are any."""
        if self.weights is not None:
            load_weights(self.model, self.weights)
        return self.weights is not None
