"""Sources of gradients for attacks: fast copies of networks, made on first use, or the judge's scores."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from harden.data import Batch
from harden.evaluation.attempt import Attempt
from harden.evaluation.probability_outputs import OutputKind, as_logits, output_of
from harden.losses import Classify, LossFunction, with_fast_copy
from harden.models import Classifier, PreparedNetwork, prepare

_EXAMPLES = 4


@final
class GradientSource:
    """A model, its judge, and its fast copies, one for each precision that an attempt uses.

    Args:
        model: gives the gradients; it must not change while this is used.
        judge: confirms errors, images to logits.

    Attributes:
        output: the kind of the judge's outputs, once `inspect` was called.
        classes: their number of classes, likewise.
    """

    def __init__(self, model: Classifier, judge: Classify) -> None:
        self.model, self.judge = model, judge
        self.output, self.classes = OutputKind.LOGITS, 0
        self._copies: dict[tuple[int, torch.dtype], PreparedNetwork] = {}

    def inspect(self, logits: Tensor) -> None:
        """Determine the kind of the judge's outputs (N, K) before the first attack.

        Raises:
            InputError: no loss can be computed from them.
        """
        if not self.classes and len(logits):
            self.classes, self.output = logits.shape[1], output_of(logits)

    def loss(self, attempt: Attempt, batch: Batch) -> tuple[LossFunction, Tensor]:
        """The attempt's loss on a batch, and the images in the memory order that suits the fast copy.

        Both are copies: an attack that writes to its arguments must not move the ball or the labels.
        """
        exact, y = contiguous(as_logits(self.judge, self.output)), batch.y.clone()
        # bfloat16 has 8 bits: a score attack that compares rounded scores sees most proposals tie.
        if attempt.source is None and attempt.is_gradient_free:
            return attempt.loss(exact, y), batch.x.clone(memory_format=torch.contiguous_format)
        fast = self._copy(attempt, batch.x)
        # The output of another source is used as it is: it need not be of the judge's kind.
        gradients = as_logits(fast, self.output) if attempt.source is None else fast
        return with_fast_copy(attempt.loss, gradients, exact, y), fast.lay_out(batch.x.clone())

    def as_run(self, attempt: Attempt) -> Attempt:
        """The attempt as it is executed: for these classes, in the precision of its fast copy.

        A precision that changes the outputs too much is not used.
        """
        fitted = attempt.for_classes(self.classes) if self.classes else attempt
        if attempt.is_gradient_free:
            return replace(fitted, precision=torch.float32)
        copy = self._copies.get(_key(attempt, self.model))
        return fitted if copy is None else replace(fitted, precision=copy.precision)

    def _copy(self, attempt: Attempt, x: Tensor) -> PreparedNetwork:
        key = _key(attempt, self.model)
        if key not in self._copies:
            network = attempt.source if isinstance(attempt.source, Classifier) else self.model
            self._copies[key] = prepare(network, x[:_EXAMPLES], key[1])
        return self._copies[key]


def contiguous(judge: Classify) -> Classify:
    """The same judge on contiguous images: it need not support the memory order of the fast copy."""

    def classify(x: Tensor) -> Tensor:
        return judge(x.contiguous())

    return classify


def _key(attempt: Attempt, model: Classifier) -> tuple[int, torch.dtype]:
    precision = torch.float32 if attempt.is_gradient_free else attempt.precision
    return id(model if attempt.source is None else attempt.source), precision
