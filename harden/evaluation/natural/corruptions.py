"""Accuracy under common corruptions of images, without an adversary."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from harden.check_pixels import check_pixels
from harden.data import Batch
from harden.draws import Draws, mix
from harden.errors import InputError
from harden.evaluation.judge_outputs import judge_classes
from harden.evaluation.natural.blur import DefocusBlur, GaussianBlur, MotionBlur
from harden.evaluation.natural.inference_batches import batches, frozen_judge
from harden.evaluation.natural.noise_and_compression import (
    Brightness,
    Contrast,
    GaussianNoise,
    Jpeg,
    Pixelate,
    ShotNoise,
)
from harden.evaluation.progress import Phase
from harden.losses import Classify
from harden.models import PassMeter, counting, plain
from harden.statistics import Proportion

SEVERITIES = (1, 2, 3, 4, 5)
LEAST_SIDE = 4
PHASE = "corruptions"
OnPhase = Callable[[Phase], None]


class Corruption(Protocol):
    """A change of images, at severities 1 to 5."""

    @property
    def name(self) -> str:
        """The name under which it is reported, which also separates its draws from those of others."""
        ...

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        """Corrupt images (N, C, H, W), float32 in [0, 1]; pixels outside [0, 1] are clamped afterwards.

        An image's result depends on itself, the severity and its draws, not on the others in the batch.
        """
        ...


DEFAULT: tuple[Corruption, ...] = (
    GaussianNoise(),
    ShotNoise(),
    GaussianBlur(),
    DefocusBlur(),
    MotionBlur(),
    Contrast(),
    Brightness(),
    Jpeg(),
    Pixelate(),
)


@final
@dataclass(frozen=True, slots=True)
class CorruptionRecord:
    """Accuracy under one corruption.

    Attributes:
        name: the corruption's name.
        clean: accuracy on the images as they are, for reference.
        accuracy: at severities 1 to 5, each with its exact interval.
    """

    name: str
    clean: Proportion
    accuracy: tuple[Proportion, ...]

    @property
    def mean(self) -> float:
        """The mean over severities."""
        return sum(each.value for each in self.accuracy) / len(self.accuracy)


@final
@dataclass(frozen=True, slots=True)
class MeanAccuracy:
    """Accuracy on average over corruptions and severities.

    Attributes:
        value: the mean, in [0, 1].
        n: number of images; each counts once, with the share of corruptions under which it is classified
            correctly.
        confidence: minimum coverage of the interval.
    """

    value: float
    n: int
    confidence: float = 0.95

    @property
    def interval(self) -> tuple[float, float]:
        """The interval value -+ sqrt(log(2 / a) / (2 n)), a = 1 - confidence (Hoeffding, 1963).

        Guarantee: it contains the population's mean with at least the confidence if the images are
            independent draws. The corruptions of an image need not be: its share of correct predictions is
            one number in [0, 1].
        """
        reach = math.sqrt(math.log(2 / (1 - self.confidence)) / (2 * self.n))
        return max(0.0, self.value - reach), min(1.0, self.value + reach)


def mean_accuracy(records: Sequence[CorruptionRecord]) -> MeanAccuracy:
    """The mean corruption accuracy: over corruptions and severities, each of the same weight.

    Raises:
        InputError: no records.
    """
    if not records:
        raise InputError("no records", "those of one corruption at least", "call accuracy_under_corruptions")
    return MeanAccuracy(sum(record.mean for record in records) / len(records), records[0].clean.n)


@plain()
def corrupted(corruption: Corruption, x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Corrupt images: the same image and id give the same result in any batch.

    Args:
        corruption: the change.
        x: images (N, C, H, W) in [0, 1], of at least 4 x 4 pixels; not changed in place.
        severity: 1 to 5.
        draws: of the images' ids, on the images' device.

    Returns:
        float32 in [0, 1], of the shape of x.

    Raises:
        InputError: x is not that, severity is another, or the corruption gives another shape, or NaN.
    """
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity!r}", "1, 2, 3, 4 or 5", "leave severity 0 out: it is the image")
    check_pixels(x)
    if min(x.shape[2:]) < LEAST_SIDE:
        seen = f"images of {x.shape[2]} x {x.shape[3]} pixels"
        raise InputError(seen, f"at least {LEAST_SIDE} x {LEAST_SIDE}", "evaluate them without corruptions")
    if len(x) == 0:
        return x.float()
    name = zlib.crc32(corruption.name.encode())
    found = corruption(x.float().clamp(0, 1), severity, draws.fold(name))
    if found.shape != x.shape or bool(found.isnan().any()):
        what = "NaN" if found.shape == x.shape else f"shape {tuple(found.shape)} of {tuple(x.shape)}"
        raise InputError(
            f"the corruption {corruption.name!r} made {what}", "numbers of the images' shape", "correct it"
        )
    return found.float().clamp(0, 1)


@plain()
def accuracy_under_corruptions(
    judge: Classify,
    data: object,
    corruptions: Sequence[Corruption] = DEFAULT,
    *,
    seed: int = 0,
    batch_size: int = 256,
    on_batch: OnPhase | None = None,
) -> tuple[CorruptionRecord, ...]:
    """Accuracy under each corruption at severities 1 to 5.

    No adversary chooses these images: the numbers complement robust accuracy and never replace it. Noise
    depends on seed, corruption and position in the data alone. A prediction is right as in `evaluate`: the
    judge's class is the label, and its logits are finite.

    Source: Hendrycks and Dietterich, 1903.12261, with the constants for CIFAR-C. Images above 32
    pixels get larger blurs and blocks; see `harden.evaluation.natural.noise_and_compression.length_scale`.

    Args:
        judge: images (N, C, H, W) to logits (N, K): `model.logits`, `thresholded(...)`.
        data: Examples, a tuple (x, y) or a DataLoader; see `harden.data.from_loader`.
        corruptions: the nine of the default, or others, each of its own name.
        seed: of noise and angles.
        batch_size: images at a time, where data brings no batches of its own.
        on_batch: called after every batch with the `Phase` so far.

    Returns:
        a record for each corruption, in their order; `mean_accuracy` averages them.

    Raises:
        InputError: no corruptions or two of one name, no images, images that are not pixels in [0, 1] or are
            smaller than 4 x 4, labels beyond the classes.
    """
    corruptions = tuple(corruptions)
    _check(corruptions)
    right = torch.zeros(len(corruptions), len(SEVERITIES), dtype=torch.int64)
    clean, done, began = 0, 0, time.perf_counter()
    with frozen_judge(judge), counting(PassMeter()) as meter:
        for batch, total in batches(judge, data, batch_size):
            clean += _right(judge, batch.x, batch.y)
            right += _under(judge, batch, corruptions, seed)
            done += len(batch)
            if on_batch is not None:
                seconds = time.perf_counter() - began
                on_batch(Phase(PHASE, done, total, passes=meter.passes, seconds=seconds))
    return tuple(
        CorruptionRecord(each.name, Proportion(clean, done), tuple(Proportion(count, done) for count in row))
        for each, row in zip(corruptions, right.tolist(), strict=True)
    )


def _under(judge: Classify, batch: Batch, corruptions: tuple[Corruption, ...], seed: int) -> Tensor:
    """The number of correct examples under each corruption and severity: int64 (corruptions, 5)."""
    draws = Draws(mix(seed), batch.index)
    counts = [
        [_right(judge, corrupted(each, batch.x, severity, draws), batch.y) for severity in SEVERITIES]
        for each in corruptions
    ]
    return torch.tensor(counts, dtype=torch.int64)


def _right(judge: Classify, x: Tensor, y: Tensor) -> int:
    return int((judge_classes(judge, x, y).to(y.device) == y).sum())


def _check(corruptions: tuple[Corruption, ...]) -> None:
    names = [each.name for each in corruptions]
    if not names:
        instead = "leave corruptions out for the nine of the default"
        raise InputError("no corruptions", "one at least", instead)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two corruptions named {twice!r}", "a name for each", "leave one out or rename it")
