"""Distance of each example to its nearest known error: the curve of accuracy over eps in one measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from harden.attacks import FAB, NearestAttack, Targeted
from harden.check_pixels import check_pixels
from harden.data import Batch, from_loader
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation.attempt import Attempt, MakeLoss
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.judge_outputs import (
    check_model,
    check_threat,
    judge_classes,
    judge_logits,
    predicted_classes,
)
from harden.evaluation.results.result import Evaluation
from harden.losses import Classify, Margin
from harden.models import Classifier, PassMeter, counting, ordinary, plain, untouched
from harden.statistics import Proportion
from harden.threats import Threat

ROUNDING = 1e-9
"""Relative error of a distance: an image counts as broken at eps only beyond it."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """The distance of the nearest error found for each example: an upper bound on the true one.

    Attributes:
        threat: gives norm and box.
        distance: in the threat's norm and pixel units, float64 (n,): 0 where the clean image is
            misclassified, infinite where no error was found.
        passes: passes spent.
    """

    threat: Threat
    distance: Tensor
    passes: float

    def robust_at(self, eps: Fraction | float | str) -> Proportion:
        """Robust accuracy at eps, an upper bound: the share whose nearest known error is farther away.

        It never rises with eps, by construction.
        """
        broken = self.distance * (1 + ROUNDING) <= float(Fraction(eps))
        return Proportion(int((~broken & (self.distance > 0)).sum()), len(self.distance))

    def curve(self, eps: Sequence[Fraction | float | str]) -> tuple[tuple[Fraction, Proportion], ...]:
        """Robust accuracy at each eps, by rising eps."""
        return tuple((at, self.robust_at(at)) for at in sorted(Fraction(value) for value in eps))

    @property
    def median(self) -> float:
        """The median distance over all examples; infinite where no error was found for half of them."""
        return float(self.distance.median())


@plain()
def minimal_distances(
    model: Classifier,
    data: object,
    threat: Threat,
    attack: NearestAttack | None = None,
    *,
    loss: MakeLoss = Margin,
    known: Evaluation | None = None,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Distances:
    """Find for each example the distance of the nearest error that an attack finds.

    Args:
        model: gives the gradients.
        data: Examples, a tuple (x, y) or a DataLoader.
        threat: gives norm and box; eps bounds nothing but random starts.
        attack: FAB towards the nine likeliest classes by default.
        loss: positive exactly where the network errs, and nowhere else.
        known: an evaluation of the same model and data, whose witnesses are used where they are nearer.
        judge: decides every prediction; the model itself by default.
        seed: of random starts.
        batch_size: images at a time, where data brings no batches of its own.

    Raises:
        InputError: the data are empty or not pixels in [0, 1]; no Classifier, no threat; `known` is of other
            data.
    """
    check_model(model)
    check_threat(threat)
    model = ordinary(model)
    search = Targeted(FAB()) if attack is None else attack
    gradient_source = GradientSource(model, model.logits if judge is None else judge)
    found, n = [], 0
    with untouched(model), counting(PassMeter()) as meter:
        for batch in from_loader(data, batch_size).epoch(None):
            check_pixels(batch.x)
            ids = torch.arange(n, n + len(batch))
            x = batch.x.float().clamp(*threat.bounds)
            placed = Batch(x, batch.y, ids).to(model.device)
            found.append(_of_batch(gradient_source, search, loss, threat, placed, seed))
            n += len(batch)
    if not n:
        raise InputError("no examples", "at least one batch", "check the loader's data set and drop_last")
    distance = torch.cat(found)
    if known is not None:
        distance = _joined(distance, known)
    return Distances(threat, distance, meter.passes)


def _of_batch(
    gradient_source: GradientSource,
    attack: NearestAttack,
    loss: MakeLoss,
    threat: Threat,
    batch: Batch,
    seed: int,
) -> Tensor:
    logits = judge_logits(gradient_source.judge, batch.x, batch.y)
    gradient_source.inspect(logits)
    right = (predicted_classes(logits) == batch.y).nonzero().flatten()
    distance = torch.zeros(len(batch), dtype=torch.float64)
    if len(right) == 0:
        return distance
    attacked = Batch(batch.x[right], batch.y[right], batch.index[right])
    made, x = gradient_source.loss(Attempt("nearest", FAB(), loss), attacked)
    nearest = attack.nearest(made, x, threat, Draws(seed, attacked.index))
    # Checked like any other attack: inside the box, and misclassified by the judge.
    x_adv = nearest.x_adv.to(attacked.x).contiguous().clamp(*threat.bounds)
    errs = judge_classes(gradient_source.judge, x_adv, attacked.y) != attacked.y
    size = threat.size(x_adv - attacked.x)
    distance[right.cpu()] = torch.where(errs, size, torch.full_like(size, torch.inf)).cpu()
    return distance


def _joined(distance: Tensor, known: Evaluation) -> Tensor:
    if len(known.labels) != len(distance):
        raise InputError(
            f"an evaluation of {len(known.labels)} examples, and data of {len(distance)}",
            "an evaluation of the same data",
            "evaluate again, or leave `known` out",
        )
    witnesses, nearer = known.witnesses, distance.clone()
    size = known.threat.size(witnesses.witness - witnesses.original)
    nearer[witnesses.index] = torch.minimum(nearer[witnesses.index], size)
    return nearer
