"""What gradient attacks steer by: fast copies of the evaluated model, made when they are first needed."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from harden.data import Batch
from harden.evaluation.attempts import Attempt
from harden.losses import Classify, LossFunction, steered
from harden.models import Classifier, Prepared, prepare

_EXAMPLES = 4


@final
class Steering:
    """A model and its fast copies, one for each precision that an attempt asks for.

    Args:
        model: gives the gradients; it stands still while this is used.
        judge: confirms errors, images to logits.
    """

    def __init__(self, model: Classifier, judge: Classify) -> None:
        self.model, self.judge = model, judge
        self._copies: dict[torch.dtype, Prepared] = {}

    def loss(self, attempt: Attempt, batch: Batch) -> tuple[LossFunction, Tensor]:
        """The attempt's loss on a batch, and the images in the memory order that suits the copy.

        Both are the attack's own: one that writes on its arguments must not move the ball or the labels.
        """
        fast = self._copy(attempt.precision, batch.x)
        loss = steered(attempt.loss, fast, self.judge, batch.y.clone())
        return loss, fast.lay_out(batch.x.clone())

    def as_run(self, attempt: Attempt) -> Attempt:
        """The attempt with the precision that its copy came to: one that ruins the answers is not used."""
        copy = self._copies.get(attempt.precision)
        return attempt if copy is None else replace(attempt, precision=copy.precision)

    def _copy(self, precision: torch.dtype, x: Tensor) -> Prepared:
        if precision not in self._copies:
            self._copies[precision] = prepare(self.model, x[:_EXAMPLES], precision)
        return self._copies[precision]
