"""Attacks that try the attack: what they have to break, must not break, and must break alike."""

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
from harden.evaluation.gradient_source import Steering
from harden.evaluation.judge import answers, predicted
from harden.evaluation.probability_outputs import Output
from harden.losses import Classify, CrossEntropy, LossFunction, Margin, margin
from harden.threats import Threat

HUGE_STEPS, STEPS = 20, 10
STEP_SIZE = 0.25
"""Of the huge eps: four steps cross the box, and sixteen are left to look around in it."""

QUERIES_A_STEP = 50

FACTORS = (Fraction(1, 2), Fraction(1), Fraction(2))

_log = logging.getLogger("harden")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is probed.

    Attributes:
        steering: the network, its fast copy and the judge.
        threat: the threat model.
        batch: images (N, C, H, W) in the threat's box that the judge gets right.
        logits: what the judge says of them (N, K).
        draws: of the random starts.
        climbs: whether attempts climb the network; else the probes' attacks ask the judge alone as well, by
            Square with as many queries as a PGD of so many steps is worth.
    """

    steering: Steering
    threat: Threat
    batch: Batch
    logits: Tensor
    draws: Draws
    climbs: bool = True

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def scores(self) -> Tensor:
        """The logits, or the logarithms of what the judge returns where that is probabilities: (N, K)."""
        return self.logits.double().log() if self.steering.output is Output.PROBABILITIES else self.logits

    def take(self, rows: Tensor) -> Subject:
        """The same with the images at these positions, int64 (M,)."""
        few = Batch(self.batch.x[rows], self.batch.y[rows], self.batch.index[rows])
        return replace(self, batch=few, logits=self.logits[rows], draws=self.draws.take(rows))

    def kept(self, attack: PGD, threat: Threat, loss: MakeLoss = Margin) -> Tensor:
        """Which images the judge still gets right after an attack, bool (N,).

        As in an evaluation, what comes back is projected and its membership decided before it counts. Where
        the network gives the attack no gradient, all of them: the attack is then worth nothing.
        """
        x, y = self.batch.x, self.batch.y
        try:
            made = Attempt("probe", attack, loss)
            if not self.climbs:
                square = Square(queries=QUERIES_A_STEP * attack.steps, stop_early=True)
                made = Attempt("probe", square, loss, black_box=True)
            climbed, start = self.steering.loss(made, self.batch)
            x_adv = made.attack(climbed, start, threat, self.draws).detach().to(x)
            x_adv = x_adv.clone(memory_format=torch.contiguous_format)
            threat.project_(x_adv, x)
            right = predicted(answers(self.steering.judge, x_adv, y)) == y
        except torch.OutOfMemoryError:
            raise
        except (HardenError, RuntimeError) as error:
            _log.info("a probe's attack fails, and counts as one that breaks nothing: %s", error)
            return torch.ones_like(y, dtype=torch.bool)
        return right | ~threat.contains(x_adv, x)


def kept_at_huge_eps(subject: Subject) -> int:
    """How many images withstand PGD-20 on the margin in a ball that holds the whole box.

    From a random point of the box, then from the image itself: 41 1/3 passes on an image that stands.
    """
    rows = torch.arange(len(subject), device=subject.batch.x.device)
    huge = subject.threat.scaled(_largest(subject) / subject.threat.eps)
    for random_start in (True, False):
        if len(rows):
            attack = PGD(HUGE_STEPS, STEP_SIZE, random_start=random_start, stop_early=True)
            rows = rows[subject.take(rows).kept(attack, huge)]
    return len(rows)


def rise_with_eps(subject: Subject) -> int:
    """The largest number of images by which a larger eps leaves more standing than a smaller one.

    PGD-10 on the margin, one restart, at eps/2, eps and 2 eps, and no witness is handed on: 32 passes on an
    image that stands. An eps beyond the box is left out.
    """
    largest = _largest(subject) / subject.threat.eps
    factors = [factor for factor in FACTORS if factor <= max(largest, Fraction(1))]
    counts = [
        int(subject.kept(PGD(steps=STEPS, stop_early=True), subject.threat.scaled(factor)).sum())
        for factor in factors
    ]
    return _rise(counts)


def broken_at_zero(subject: Subject, rounding: float) -> int:
    """How many images an attack with eps 0 breaks, at 2 passes an image.

    Args:
        subject: what is probed.
        rounding: two logits that are nearer, as a share of the largest, tie: which is ahead may change.
    """
    x, y = subject.batch.x, subject.batch.y
    # In the same batch as what the attack returns: its other last bits are no matter of the attack.
    before = predicted(answers(subject.steering.judge, x, y)) == y
    fell = before & ~subject.kept(PGD(steps=1, stop_early=True), subject.threat.scaled(0))
    return int((fell & ~ties(subject.logits, rounding)).sum())


def broken_at_scale(subject: Subject) -> int:
    """How many images PGD-10 breaks that climbs the cross-entropy of logits of a usual scale: 10 2/3 passes.

    The logits are divided by the median of their absolute margin.
    """
    typical = float(margin(subject.scores.double(), subject.batch.y).abs().median())
    scale = typical if 0 < typical < float("inf") else 1.0
    kept = subject.kept(PGD(steps=STEPS, stop_early=True), subject.threat, ScaledCrossEntropy(scale))
    return len(subject) - int(kept.sum())


@final
@dataclass(frozen=True, slots=True)
class ScaledCrossEntropy:
    """Makes -log softmax(z(x) / scale)_y, in nats."""

    scale: float

    def __call__(self, classify: Classify, y: Tensor) -> LossFunction:
        """The loss of labels y, int64 (N,), under a classifier."""

        def scaled(x: Tensor) -> Tensor:
            return classify(x) / self.scale

        return CrossEntropy(scaled, y)


def ties(logits: Tensor, rounding: float) -> Tensor:
    """Whether the first two of each row (N, K), K >= 2, differ by at most this share of its largest."""
    ahead = logits.topk(2, dim=1).values
    return ahead[:, 0] - ahead[:, 1] <= rounding * logits.abs().amax(1)


def _rise(counts: Sequence[int]) -> int:
    """By how much a sequence rises at most from an earlier to a later place."""
    return max((later - min(counts[:place]) for place, later in enumerate(counts) if place), default=0)


def _largest(subject: Subject) -> Fraction:
    """The eps of a ball around any image that holds the whole box: the norm of the box's diagonal."""
    low, high = subject.threat.bounds
    unit = float(subject.threat.size(torch.ones_like(subject.batch.x[:1])))
    return (Fraction(high) - Fraction(low)) * Fraction(unit)
