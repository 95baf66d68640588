"""The loss of a classifier that returns classes and no scores, for decision-based attacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from harden.errors import InputError
from harden.losses.loss import no_targeted_form
from harden.losses.numpy_bridge import NumpyFunction, call_with_array


@final
@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """1 where the answer is not y, else 0: for a decision-based attack such as `harden.attacks.RayS`.

    It is piecewise constant: an attack that needs its gradient or its value makes no progress on it.

    Args:
        predict: images, a contiguous float32 array (N, C, H, W), to classes, integers (N,), as an array, a
            tensor or a list.
        y: labels, int64 (N,).

    Raises:
        InputError: when called, where `predict` gives anything but an integer for each image.
    """

    predict: NumpyFunction
    y: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """1 where the answer is wrong, else 0: float32 (N,)."""
        return self.judged(x)[0]

    def judged(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each example (N,), and whether the answer is wrong, bool (N,), from one call."""
        found = call_with_array(self.predict, x)
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

    @property
    def graded(self) -> None:
        """None: there is no gradient."""
        return

    def logits(self, x: Tensor) -> Tensor:
        """No classifier of this kind has any.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"a request for the logits of {len(x)} images from a classifier that returns classes alone",
            "an attack that needs no scores",
            "use harden.attacks.RayS, or attack scores: Margin(harden.models.from_numpy(scores), y)",
        )

    def aimed(self, target: Tensor) -> Labels:
        """No classifier of this kind can be aimed at the classes `target`.

        Raises:
            InputError: always.
        """
        del target
        raise no_targeted_form(self)
