"""Accuracy as a function of eps, with the witnesses of an evaluation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import final

import torch

from harden.check_pixels import check_pixels
from harden.data import Batch, from_loader
from harden.draws import Draws, mix
from harden.evaluation.attack_and_judge import attack_and_judge
from harden.evaluation.attempt import Attempt
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.judge_outputs import judge_logits, predicted_classes
from harden.evaluation.progress import EvaluationProgress
from harden.evaluation.results.aggregate import records
from harden.evaluation.results.batch_outcome import AttemptTotals, BatchWitnesses
from harden.evaluation.results.result import Evaluation
from harden.evaluation.results.spooled_columns import join_witnesses
from harden.evaluation.robust_accuracy import OnBatch
from harden.losses import Classify
from harden.models import Classifier, PassMeter, counting, ordinary, plain, untouched
from harden.statistics import Proportion
from harden.threats import Threat

FACTORS = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1), Fraction(3, 2), Fraction(2))


@final
@dataclass(frozen=True, slots=True)
class AccuracyCurve:
    """Accuracy over eps.

    Attributes:
        points: a threat and the accuracy under it, by rising eps, clean accuracy (eps = 0) first.
        found: the evaluation that the curve extends, with the witnesses that the curve added.
    """

    points: tuple[tuple[Threat, Proportion], ...]
    found: Evaluation


@plain()
def accuracy_curve(
    model: Classifier,
    data: object,
    known: Evaluation,
    attempt: Attempt,
    factors: Sequence[Fraction] = FACTORS,
    *,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
    on_batch: OnBatch | None = None,
) -> AccuracyCurve:
    """Accuracy under an evaluation's threat with eps times each factor.

    Never rises with eps, by construction: a witness at a smaller eps is one at every larger eps. At smaller
    eps the attempt searches for witnesses; at the evaluation's own eps the union of both is taken, without a
    further attack; at larger eps the attempt continues on the unbroken examples. So the curve passes through
    robust accuracy, and robust accuracy counts the witnesses of the curve.

    Args:
        model: gives the gradients.
        data: the evaluated images, in the same order.
        known: the evaluation of the same model, data and judge.
        attempt: the one attack of the curve.
        factors: increasing multiples of eps; those whose eps exceeds the width of the box are left out.
        judge: decides every prediction; the model itself by default.
        seed: of the random starts.
        batch_size: images at a time, where data brings no batches of its own.
        on_batch: called after every batch with the `EvaluationProgress` so far, at the evaluation's own eps.
    """
    model = ordinary(model)
    gradient_source = GradientSource(model, model.logits if judge is None else judge)
    curve = _CurveEvaluation(gradient_source, known, attempt, seed, _scaled_threats(known, factors))
    source, own = from_loader(data, batch_size), curve.threats.index(known.threat.scaled(1)) + 1
    counts, effort, n = [0] * (len(curve.threats) + 1), AttemptTotals(), 0
    new: list[BatchWitnesses] = []
    began = time.perf_counter()
    with untouched(model), counting(PassMeter()) as meter:
        for batch in source.epoch(None):
            left = len(known.labels) - n
            if left <= 0:  # the time limit of the evaluation
                break
            check_pixels(batch.x)
            ids = torch.arange(n, n + min(len(batch), left))
            x = batch.x[:left].float().clamp(*known.threat.bounds)
            batch = Batch(x, batch.y[:left], ids).to(model.device)
            n += len(batch)
            counts = [sum(pair) for pair in zip(counts, curve.unbroken(batch, new), strict=True)]
            if on_batch is not None:
                seconds = time.perf_counter() - began
                on_batch(EvaluationProgress(n, len(source), counts[own] / n, meter.passes, seconds))
    effort.passes, effort.seconds = meter.passes, time.perf_counter() - began
    threats = (known.threat.scaled(0), *curve.threats)
    points = tuple((at, Proportion(count, n)) for at, count in zip(threats, counts, strict=True))
    return AccuracyCurve(points, _with(known, gradient_source.as_run(attempt), effort, new))


@final
@dataclass(frozen=True, slots=True)
class _CurveEvaluation:
    gradient_source: GradientSource
    known: Evaluation
    attempt: Attempt
    seed: int
    threats: tuple[Threat, ...]

    def unbroken(self, batch: Batch, found: list[BatchWitnesses]) -> list[int]:
        """The number of unbroken examples of a batch at each eps, 0 first; appends witnesses to `found`."""
        broken = self.known.broken.to(batch.x.device)[batch.index]
        logits = judge_logits(self.gradient_source.judge, batch.x, batch.y)
        self.gradient_source.inspect(logits)
        index = (predicted_classes(logits) == batch.y).nonzero().flatten()
        counts = [len(index)]
        for place, threat in enumerate(self.threats, start=1):
            if threat.eps >= self.known.threat.eps:
                index = index[~broken[index]]
            if len(index) and threat.eps != self.known.threat.eps:
                at = Batch(batch.x[index], batch.y[index], batch.index[index])
                draws = Draws(mix(self.seed, place), at.index)
                x_adv, prediction, _ = attack_and_judge(self.attempt, self.gradient_source, threat, at, draws)
                broke = prediction != at.y
                new = broke & ~broken[index]
                if threat.eps < self.known.threat.eps:
                    parts = (at.index[new], at.y[new], prediction[new], at.x[new], x_adv[new])
                    found.append(BatchWitnesses(*(part.cpu() for part in parts)))
                index = index[~broke]
            counts.append(len(index))
        return counts


def _with(
    known: Evaluation, attempt: Attempt, effort: AttemptTotals, found: list[BatchWitnesses]
) -> Evaluation:
    """The evaluation with a further attempt, at smaller eps, and its witnesses."""
    index = torch.cat([one.index for one in found]) if found else known.labels[:0]
    broken, by = known.broken.clone(), known.broken_by.clone()
    broken[index], by[index] = True, len(known.attempts)
    effort.attempted, effort.broken = known.robust.count, len(index)
    (record,) = records([attempt], [effort], known.robust.count, len(known.labels))
    old = known.witnesses
    return replace(
        known,
        broken=broken,
        broken_by=by,
        attempts=(*known.attempts, replace(record, name=f"{attempt.name}, smaller eps")),
        witnesses=join_witnesses(
            [*found, BatchWitnesses(old.index, old.label, old.prediction, old.original, old.witness)]
        ),
        passes=known.passes + effort.passes,
        seconds=known.seconds + effort.seconds,
    )


def _scaled_threats(known: Evaluation, factors: Sequence[Fraction]) -> tuple[Threat, ...]:
    """The scaled threats, with the evaluation's own, up to the width of the box."""
    threat = known.threat
    width = Fraction(threat.bounds[1]) - Fraction(threat.bounds[0])
    multiples = sorted({*factors, Fraction(1)})
    return tuple(
        threat.scaled(factor) for factor in multiples if threat.name != "linf" or threat.eps * factor <= width
    )
