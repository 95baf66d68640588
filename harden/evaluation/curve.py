"""Accuracy over eps: how far the budget must grow until nothing stands."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch

from harden.data import Batch, from_loader
from harden.draws import Draws, mix
from harden.evaluation.attempts import Attempt
from harden.evaluation.outcome import Evaluation
from harden.evaluation.worst_case import attacked, classified
from harden.losses import Classify
from harden.models import Classifier, frozen
from harden.pixels import check_pixels
from harden.statistics import Proportion
from harden.threats import Threat

FACTORS = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1), Fraction(3, 2), Fraction(2))


def accuracy_curve(
    model: Classifier,
    data: object,
    threat: Threat,
    attempt: Attempt,
    factors: Sequence[Fraction] = FACTORS,
    *,
    judge: Classify | None = None,
    known: Evaluation | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> list[tuple[Threat, Proportion]]:
    """Accuracy under one attempt at eps times each factor, clean accuracy (eps = 0) first.

    Never rises with eps, by construction: a witness at a smaller eps is one at every larger eps, so only
    examples that still stand are attacked again. What an evaluation of the same data broke counts from its
    eps on, where no further attack is tried: so the curve goes through the evaluation's robust accuracy, or
    below it where a smaller eps sufficed.

    Args:
        model: gives the gradients.
        data: as for `evaluate`.
        threat: the threat model that the factors scale; factors that leave its box's width are left out.
        attempt: the one attack of the curve.
        factors: increasing multiples of eps.
        judge: decides every prediction; the model itself by default.
        known: an evaluation of the same model, data and judge, under `threat`.
        seed: of the random starts.
        batch_size: images at a time, where data brings no batches of its own.
    """
    judge = model.logits if judge is None else judge
    width = Fraction(threat.bounds[1]) - Fraction(threat.bounds[0])
    factors = [factor for factor in sorted(factors) if threat.name != "linf" or threat.eps * factor <= width]
    threats = [threat.scaled(0), *(threat.scaled(factor) for factor in factors)]
    standing_at, n = [0] * len(threats), 0
    with frozen(model):
        for batch in from_loader(data, batch_size).epoch(None):
            check_pixels(batch.x)
            ids = torch.arange(n, n + len(batch))
            batch = Batch(batch.x.float().clamp(*threat.bounds), batch.y, ids).to(model.device)
            n += len(batch)
            index = (classified(judge, batch.x, batch.y) == batch.y).nonzero().flatten()
            standing_at[0] += len(index)
            for place, wider in enumerate(threats[1:], start=1):
                if known is not None and wider.eps >= known.threat.eps:
                    index = index[~known.broken.to(index.device)[batch.index[index]]]
                if len(index) and (known is None or wider.eps != known.threat.eps):
                    standing = Batch(batch.x[index], batch.y[index], batch.index[index])
                    draws = Draws(mix(seed, place), standing.index)
                    _, prediction, _ = attacked(attempt, model, judge, wider, standing, draws)
                    index = index[prediction == standing.y]
                standing_at[place] += len(index)
    return [(at, Proportion(count, n)) for at, count in zip(threats, standing_at, strict=True)]
