"""The loss of a classifier that tells its answer and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from harden.errors import InputError
from harden.losses.numpy_loss import Foreign, answered


@final
@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """1 where the answer is not y, else 0: for a decision-based attack such as `harden.attacks.RayS`.

    It has no slope anywhere, and no attack that follows a gradient or a height finds a way on it.

    Args:
        predict: images, a contiguous float32 array (N, C, H, W), to classes, integers (N,), as an array, a
            tensor or a list.
        y: labels, int64 (N,).

    Raises:
        InputError: when called, where `predict` gives anything but an integer for each image.
    """

    predict: Foreign
    y: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """1 where the answer is wrong, else 0: float32 (N,)."""
        return self.judged(x)[0]

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the answer is wrong, bool (N,), from one call."""
        found = answered(self.predict, x)
        if found.shape != (len(x),) or not np.issubdtype(found.dtype, np.integer):
            raise InputError(
                f"answers of shape {found.shape} and type {found.dtype} for {len(x)} images",
                f"a class for each image, integers of shape ({len(x)},)",
                "take the argmax of scores, or attack them: Margin(harden.models.from_numpy(scores), y)",
            )
        wrong = torch.from_numpy(found.astype(np.int64)).to(self.y.device) != self.y
        return wrong.to(torch.float32), wrong

    def take(self, index: Tensor) -> Labels:
        """The same loss on the examples at `index`."""
        return Labels(self.predict, self.y[index])
