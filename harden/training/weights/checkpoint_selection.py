"""Selection of the weights of a stage by robust accuracy on held-out images."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Final, final

import torch
from torch import Tensor

from harden.evaluation.evaluation_shards import found_by_all, own_parts
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.evaluation.suite_cost import given_passes
from harden.models import Classifier, frozen
from harden.models.snapshot import Snapshot, prefixed
from harden.system.ranks import ALONE, Ranks
from harden.training.stage import Stage, Validation, weighted_share
from harden.training.weights.weight_averaging import (
    WeightAverage,
    between,
    load_weights,
    weights_like,
    weights_of,
)

_BISECTIONS: Final = 6
CLEAN_LIMIT: Final = "clean accuracy"
"""How the event begins that says why the weights from before training are kept."""
Score = tuple[bool, float, float]


@final
class CheckpointSelection:
    """The best weights so far, with their score: (reliable, robust accuracy, clean accuracy).

    With a limit on the loss of clean accuracy, the weights from before training are the first candidate, and
    weights beyond the limit are none.

    Several processes evaluate a part of the held-out images each, no image twice, and find the same score.

    Attributes:
        best: the score of the best weights; None before the first measurement.
        weights: the best weights.
        original: the score of the weights from before training, where there is a limit.
        share: a in w = (1 - a) w_0 + a w_1, where the best weights lie between those from before training
            and later ones; None elsewhere.
    """

    def __init__(self, stage: Stage, model: Classifier, validation: Validation, ranks: Ranks = ALONE) -> None:
        self.stage, self.model, self.validation, self.ranks = stage, model, validation, ranks
        self.best: Score | None = None
        self.weights: dict[str, Tensor] | None = None
        self.original: Score | None = None
        self.share: float | None = None

    def begin(self) -> None:
        """Measure the weights from before training, where a limit refers to them."""
        limit = self.validation.limit
        if limit is None:
            return
        own = weights_of(self.model)
        load_weights(self.model, limit.original)
        try:
            self.original, _ = self.measure(None)
        finally:
            load_weights(self.model, own)

    @property
    def unmet(self) -> str:
        """Why the weights from before training are kept, as a sentence; "" where others are."""
        limit = self.validation.limit
        if limit is None or self.original is None or self.best != self.original:
            return ""
        _, robust, clean = self.original
        return (
            f"no weights were more robust than the original ones ({robust:.3f}) and lost at most "
            f"{limit.drop:g} of their clean accuracy {clean:.3f} on {len(self.validation.source)} held-out "
            "images: the original weights are kept"
        )

    def snapshot(self) -> Snapshot:
        """Return the best weights and their score."""
        tensors = {} if self.weights is None else prefixed("best", self.weights)
        return Snapshot(tensors, {"best": self.best, "original": self.original, "share": self.share})

    def restore(self, start: Snapshot) -> None:
        """Restore what `snapshot` returned."""
        if start.facts["best"] is not None:
            reliable, robust, clean = start.facts["best"]
            self.best = (reliable, robust, clean)
            if (original := start.facts.get("original")) is not None:
                self.original = (original[0], original[1], original[2])
            self.share = start.facts.get("share")
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
            best = self._within(clean) and self._rises(score)
            if best:
                self.best, self.weights, self.share = score, weights_of(self.model), None
        return score, best

    def interpolate(self, average: WeightAverage | None, clean: float) -> None:
        """Measure weights between those from before training and the present ones, or their average.

        w = (1 - a) w_0 + a w_1, with a multiple a of 1/64 that bisection finds: the clean accuracy is within
        the limit at a, and beyond it at a + 1/64. Where it falls along the way this is the largest such a.
        These weights are kept if they are the best so far. Nothing is done without a limit, or where the
        present weights are within it. Interpolation of fine-tuned weights: Wortsman et al., 2109.01903.

        Args:
            average: of the weights, which takes their place; None for the weights themselves.
            clean: its clean accuracy, as measured.
        """
        limit = self.validation.limit
        if limit is None or self.original is None or self._within(clean):
            return
        own = weights_of(self.model)
        ends = own if average is None else average.weights
        try:
            least, most = 0.0, 1.0
            for _ in range(_BISECTIONS):
                middle = (least + most) / 2
                load_weights(self.model, between(limit.original, ends, middle))
                least, most = (middle, most) if self._within(self._clean()) else (least, middle)
            if least == 0.0:
                return
            load_weights(self.model, between(limit.original, ends, least))
            _, best = self.measure(None)
            if best:
                self.share = least
        finally:
            load_weights(self.model, own)

    def _clean(self) -> float:
        """Clean accuracy of the model's present weights on the held-out images, weighted as scores are."""
        ranks = self.ranks if self.divided else ALONE

        def classified() -> list[tuple[Tensor, Tensor]]:
            found = []
            with frozen(self.model), torch.no_grad():
                for batch in own_parts(self.validation.source, ranks):
                    answers = self.model.logits(batch.x.to(self.model.device)).argmax(1).cpu()
                    found.append((answers == batch.y, batch.y))
            return found

        pairs = [pair for found in found_by_all(classified, ranks) for pair in found]
        right, labels = (torch.cat(each) for each in zip(*pairs, strict=True))
        weights = getattr(self.stage.objective, "class_weights", ())
        return weighted_share(right, labels, weights) if weights else float(right.double().mean())

    def _within(self, clean: float) -> bool:
        """Whether the clean accuracy is within the limit."""
        limit = self.validation.limit
        if limit is None or self.original is None:
            return True
        # Shares of the same images: their difference rounds.
        return self.original[2] - clean <= limit.drop + 1e-9

    def _rises(self, score: Score) -> bool:
        """Whether the score is as good as the best, or better; the original weights stay with equal ones."""
        if self.best is None or score > self.best:
            return True
        return score == self.best and self.best != self.original

    def load(self) -> bool:
        """Load the best weights into the model, and return whether there are any."""
        if self.weights is not None:
            load_weights(self.model, self.weights)
        return self.weights is not None
