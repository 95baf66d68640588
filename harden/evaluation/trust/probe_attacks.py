"""Attacks with a known outcome, by which probes test the attacks of an evaluation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from harden.attacks import PGD, Square
from harden.data import Batch
from harden.draws import Draws
from harden.errors import HardenError
from harden.evaluation.attempt import Attempt, MakeLoss
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.judge_outputs import judge_logits, predicted_classes
from harden.evaluation.probability_outputs import OutputKind
from harden.losses import Classify, CrossEntropy, LossFunction, Margin, margin
from harden.threats import Threat

HUGE_STEPS, STEPS = 20, 10
STEP_SIZE = 0.25
"""As a share of the huge eps: four steps cross the box, and sixteen remain for the search in it."""

QUERIES_A_STEP = 50

FACTORS = (Fraction(1, 2), Fraction(1), Fraction(2))

_log = logging.getLogger("harden")


@final
@dataclass(frozen=True, slots=True, eq=False)
class ProbeInputs:
    """Network, images and threat model of a probe.

    Attributes:
        gradient_source: the network, its fast copy and the judge.
        threat: the threat model.
        batch: images (N, C, H, W) in the threat's box that the judge classifies correctly.
        logits: of the judge (N, K).
        draws: of the random starts.
        white_box: whether the network gives gradients; else the probes' attacks query the judge alone as
            well, by Square with as many queries as correspond to the steps of PGD.
    """

    gradient_source: GradientSource
    threat: Threat
    batch: Batch
    logits: Tensor
    draws: Draws
    white_box: bool = True

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def scores(self) -> Tensor:
        """The logits, or the logarithms of the judge's outputs where these are probabilities: (N, K)."""
        return (
            self.logits.double().log()
            if self.gradient_source.output is OutputKind.PROBABILITIES
            else self.logits
        )

    def take(self, rows: Tensor) -> ProbeInputs:
        """The inputs with the images at these positions, int64 (M,)."""
        few = Batch(self.batch.x[rows], self.batch.y[rows], self.batch.index[rows])
        return replace(self, batch=few, logits=self.logits[rows], draws=self.draws.take(rows))

    def unbroken_after(self, attack: PGD, threat: Threat, loss: MakeLoss = Margin) -> Tensor:
        """Return whether the judge classifies each image correctly after an attack, bool (N,).

        As in an evaluation, results are projected and their membership checked before they count. Where the
        attack fails for lack of a gradient, all images count as unbroken.
        """
        x, y = self.batch.x, self.batch.y
        try:
            made = Attempt("probe", attack, loss)
            if not self.white_box:
                square = Square(queries=QUERIES_A_STEP * attack.steps, stop_early=True)
                made = Attempt("probe", square, loss, black_box=True)
            maximised, start = self.gradient_source.loss(made, self.batch)
            x_adv = made.attack(maximised, start, threat, self.draws).detach().to(x)
            x_adv = x_adv.clone(memory_format=torch.contiguous_format)
            threat.project_(x_adv, x)
            right = predicted_classes(judge_logits(self.gradient_source.judge, x_adv, y)) == y
        except torch.OutOfMemoryError:
            raise
        except (HardenError, RuntimeError) as error:
            _log.info("a probe's attack fails, and counts as one that breaks nothing: %s", error)
            return torch.ones_like(y, dtype=torch.bool)
        return right | ~threat.contains(x_adv, x)


def unbroken_at_huge_eps(inputs: ProbeInputs) -> int:
    """The number of images that PGD-20 on the margin does not break in a ball that contains the whole box.

    From a random point of the box, then from the image itself: 41 1/3 passes on an unbroken image.
    """
    rows = torch.arange(len(inputs), device=inputs.batch.x.device)
    huge = inputs.threat.scaled(_largest(inputs) / inputs.threat.eps)
    for random_start in (True, False):
        if len(rows):
            attack = PGD(HUGE_STEPS, STEP_SIZE, random_start=random_start, stop_early=True)
            rows = rows[inputs.take(rows).unbroken_after(attack, huge)]
    return len(rows)


def rise_with_eps(inputs: ProbeInputs) -> int:
    """The largest increase in the number of unbroken images from a smaller to a larger eps.

    PGD-10 on the margin, one restart, at eps/2, eps and 2 eps, without witnesses of a smaller eps: 32 passes
    on an unbroken image. An eps beyond the box is left out.
    """
    largest = _largest(inputs) / inputs.threat.eps
    factors = [factor for factor in FACTORS if factor <= max(largest, Fraction(1))]
    counts = [
        int(inputs.unbroken_after(PGD(steps=STEPS, stop_early=True), inputs.threat.scaled(factor)).sum())
        for factor in factors
    ]
    return _rise(counts)


def broken_at_zero(inputs: ProbeInputs, rounding: float) -> int:
    """The number of images that an attack with eps 0 breaks, at 2 passes per image.

    Args:
        inputs: of the probe.
        rounding: logits closer than this share of the largest tie: their order may change.
    """
    x, y = inputs.batch.x, inputs.batch.y
    # In the same batch as the attack's result, whose rounding then is no effect of the attack.
    before = predicted_classes(judge_logits(inputs.gradient_source.judge, x, y)) == y
    broken = before & ~inputs.unbroken_after(PGD(steps=1, stop_early=True), inputs.threat.scaled(0))
    return int((broken & ~ties(inputs.logits, rounding)).sum())


def broken_at_scale(inputs: ProbeInputs) -> int:
    """The number of images that PGD-10 breaks on the cross-entropy of rescaled logits, at 10 2/3 passes.

    The logits are divided by the median of their absolute margin.
    """
    typical = float(margin(inputs.scores.double(), inputs.batch.y).abs().median())
    scale = typical if 0 < typical < float("inf") else 1.0
    unbroken = inputs.unbroken_after(
        PGD(steps=STEPS, stop_early=True), inputs.threat, ScaledCrossEntropy(scale)
    )
    return len(inputs) - int(unbroken.sum())


@final
@dataclass(frozen=True, slots=True)
class ScaledCrossEntropy:
    """The loss -log softmax(z(x) / scale)_y, in nats."""

    scale: float

    def __call__(self, classify: Classify, y: Tensor) -> LossFunction:
        """The loss of labels y, int64 (N,), under a classifier."""

        def scaled(x: Tensor) -> Tensor:
            return classify(x) / self.scale

        return CrossEntropy(scaled, y)


def ties(logits: Tensor, rounding: float) -> Tensor:
    """Return whether the two largest of each row (N, K), K >= 2, differ by at most this share of it."""
    ahead = logits.topk(2, dim=1).values
    return ahead[:, 0] - ahead[:, 1] <= rounding * logits.abs().amax(1)


def _rise(counts: Sequence[int]) -> int:
    """The largest increase of a sequence from an earlier to a later place."""
    return max((later - min(counts[:place]) for place, later in enumerate(counts) if place), default=0)


def _largest(inputs: ProbeInputs) -> Fraction:
    """The eps of a ball around any image that contains the whole box: the norm of the box's diagonal."""
    low, high = inputs.threat.bounds
    unit = float(inputs.threat.size(torch.ones_like(inputs.batch.x[:1])))
    return (Fraction(high) - Fraction(low)) * Fraction(unit)
