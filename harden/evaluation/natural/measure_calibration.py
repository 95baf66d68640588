"""Calibration of a judge on images, clean or with witnesses in place of the broken ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.check_pixels import TOLERANCE
from harden.data import Batch
from harden.errors import InputError
from harden.evaluation.natural.calibration_error import (
    BINS,
    Calibration,
    Reliability,
    adaptive_ece,
    confidences,
)
from harden.evaluation.natural.inference_batches import batches, frozen_judge
from harden.evaluation.progress import Phase
from harden.evaluation.results.result import Witnesses
from harden.losses import Classify
from harden.models import PassMeter, counting, plain

OnPhase = Callable[[Phase], None]
PHASE = "calibration"


@final
@dataclass(frozen=True, slots=True)
class CalibrationRecord:
    """The calibration of a judge on a set of images.

    Attributes:
        reliability: over bins of equal width.
        adaptive_ece: over as many bins of equal mass.
        replaced: number of images that were replaced by their witness.
    """

    reliability: Reliability
    adaptive_ece: float
    replaced: int = 0


@plain()
def calibration_of(
    judge: Classify,
    data: object,
    *,
    witnesses: Witnesses | None = None,
    bins: int = BINS,
    batch_size: int = 256,
    on_batch: OnPhase | None = None,
) -> CalibrationRecord:
    """Compare a judge's confidence with its accuracy on images.

    The confidence is the largest softmax of the judge's logits: pass the network itself, not one at a
    decision threshold, whose shifted logits are not log-probabilities.

    With witnesses, each broken image of an evaluation is replaced by its witness. That is calibration under
    the attacks that were made, which searched for errors and not for bad calibration; others may worsen it.

    Args:
        judge: images (N, C, H, W) to logits (N, K).
        data: Examples, a tuple (x, y) or a DataLoader; see `harden.data.from_loader`.
        witnesses: those of an evaluation on the same data in the same order.
        bins: number of bins.
        batch_size: images at a time, where data brings no batches of its own.
        on_batch: called after every batch with the `Phase` so far.

    Raises:
        InputError: no images, images that are not pixels in [0, 1], labels beyond the classes, no finite
            logits at all, or witnesses of other images.
    """
    found, parts, replaced = Calibration(bins), list[tuple[Tensor, Tensor]](), 0
    began = time.perf_counter()
    with frozen_judge(judge), torch.no_grad(), counting(PassMeter()) as meter:
        for batch, total in batches(judge, data, batch_size):
            x = batch.x
            if witnesses is not None:
                x, count = _replaced(batch, witnesses)
                replaced += count
            logits = judge(x).cpu()
            found.add(logits, batch.y.cpu())
            parts.append(confidences(logits, batch.y.cpu()))
            if on_batch is not None:
                done, seconds = int(batch.index[-1]) + 1, time.perf_counter() - began
                on_batch(Phase(PHASE, done, total, passes=meter.passes, seconds=seconds))
    if witnesses is not None and replaced != len(witnesses):
        raise _others(f"{len(witnesses) - replaced} witnesses for images beyond the last")
    confidence, right = (torch.cat(column) for column in zip(*parts, strict=True))
    return CalibrationRecord(found.result(), adaptive_ece(confidence, right, bins), replaced)


def _replaced(batch: Batch, witnesses: Witnesses) -> tuple[Tensor, int]:
    """The images with broken ones replaced by their witnesses, and the number of these."""
    mine = torch.isin(witnesses.index, batch.index.cpu()).nonzero().flatten()
    place = (witnesses.index[mine] - int(batch.index[0])).to(batch.x.device)
    x = batch.x.clone()
    if len(mine):
        original = witnesses.original[mine].to(x)
        if original.shape != x[place].shape or bool(((original - x[place]).abs() > 2 * TOLERANCE).any()):
            raise _others("witnesses whose originals are not these images")
        x[place] = witnesses.witness[mine].to(x)
    return x, len(mine)


def _others(seen: str) -> InputError:
    return InputError(seen, "the images that were evaluated, in the same order", "pass the same data to both")
