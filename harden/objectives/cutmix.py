"""CutMix: images with a rectangle of another image of their batch, and the labels of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from harden.losses import Classify, LossFunction
from harden.objectives.class_weighting import ClassWeights, weighted_mean
from harden.system.shards import batch_part, batch_rows


@final
@dataclass(frozen=True, slots=True, eq=False)
class MixedImages:
    """Images in which a rectangle may be that of another image, of the share 1 - s of the pixels.

    The loss of an image is s CE(z, y) + (1 - s) CE(z, y'), with the label y' of the other one.

    Attributes:
        x: (N, C, H, W).
        y: labels of the images themselves, int64 (N,).
        other: labels y' of those whose rectangles they have, int64 (N,).
        share: s, float32 (N,).
    """

    x: Tensor
    y: Tensor
    other: Tensor
    share: Tensor

    def attacked(self, classify: Classify) -> LossFunction:
        """The loss (N,) of images in place of x as a plain function, which an attack maximises."""

        def loss(x: Tensor) -> Tensor:
            first, second = self._losses(classify(x), 0.0)
            return self.share * first + (1.0 - self.share) * second

        return loss

    def cross_entropy(self, logits: Tensor, weights: ClassWeights, label_smoothing: float) -> Tensor:
        """The mean loss, in which each of the two terms has its share, times the weight of its class.

        Raises:
            InputError: there are weights for more or fewer classes than logits.
        """
        losses = torch.cat(self._losses(logits, label_smoothing))
        labels, shares = torch.cat((self.y, self.other)), torch.cat((self.share, 1.0 - self.share))
        return weighted_mean(losses, labels, weights, logits.shape[1], shares)

    def _losses(self, logits: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
        first, second = (
            functional.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
            for labels in (self.y, self.other)
        )
        return first, second


def cutmix(x: Tensor, y: Tensor, probability: float, generator: torch.Generator) -> MixedImages:
    """Put a rectangle of another image into each image, with a probability (Yun et al., 1905.04899).

    Each image has draws of its own: whether it is mixed, with which image of the batch, the area of the
    rectangle, uniform in [0, 1] of the image's, and its centre, uniform in the image. What lies outside the
    image is cut off, and s is the share of the pixels that the image keeps.

    Args:
        x: images (N, C, H, W).
        y: labels, int64 (N,).
        probability: with which an image is mixed.
        generator: where all draws come from.
    """
    height, width = x.shape[2:]
    images, labels = batch_rows(x), batch_rows(y)  # a partner may be in the part of another process
    table = torch.rand((len(images), 5), generator=generator, device=generator.device).to(x.device)
    mixed, partner, area, down, right = batch_part(table).unbind(1)
    other = (partner * len(images)).long().clamp_max(len(images) - 1)
    half = torch.where(mixed < probability, area.sqrt() / 2, 0.0)
    inside = _within(down, half, height)[:, :, None] & _within(right, half, width)[:, None, :]
    x_mixed = torch.where(inside[:, None], images[other], x)
    return MixedImages(x_mixed, y, labels[other], 1.0 - inside.float().mean((1, 2)))


def _within(centre: Tensor, half: Tensor, size: int) -> Tensor:
    """The pixels whose middle is less than `half` from the centre, both in units of the side: (N, size)."""
    middle = (torch.arange(size, device=centre.device) + 0.5) / size
    return (middle - centre[:, None]).abs() < half[:, None]
