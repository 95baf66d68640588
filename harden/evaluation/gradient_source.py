"""What attacks steer by: fast copies of networks, made when they are first needed, or the judge alone."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from harden.data import Batch
from harden.evaluation.attempt import Attempt
from harden.evaluation.probability_outputs import Output, as_logits, output_of
from harden.losses import Classify, LossFunction, with_fast_copy
from harden.models import Classifier, Prepared, prepare

_EXAMPLES = 4


@final
class Steering:
    """A model and its fast copies, one for each precision that an attempt asks for.

    Args:
        model: gives the gradients; it stands still while this is used.
        judge: confirms errors, images to logits.

    Attributes:
        output: what the judge returns, once `meet` has seen it.
        classes: how many it knows, likewise.
    """

    def __init__(self, model: Classifier, judge: Classify) -> None:
        self.model, self.judge = model, judge
        self.output, self.classes = Output.LOGITS, 0
        self._copies: dict[tuple[int, torch.dtype], Prepared] = {}

    def meet(self, logits: Tensor) -> None:
        """See what the judge returns, (N, K), before anything is attacked; once is enough.

        Raises:
            InputError: it is what no loss can be made of.
        """
        if not self.classes and len(logits):
            self.classes, self.output = logits.shape[1], output_of(logits)

    def loss(self, attempt: Attempt, batch: Batch) -> tuple[LossFunction, Tensor]:
        """The attempt's loss on a batch, and the images in the memory order that suits the copy.

        Both are the attack's own: one that writes on its arguments must not move the ball or the labels.
        """
        exact, y = contiguous(as_logits(self.judge, self.output)), batch.y.clone()
        # bfloat16 has 8 bits: a score attack that compares rounded scores sees most proposals tie.
        if attempt.source is None and attempt.is_gradient_free:
            return attempt.loss(exact, y), batch.x.clone(memory_format=torch.contiguous_format)
        fast = self._copy(attempt, batch.x)
        # A source of one's own is taken for what it is: its output need not be the judge's.
        climbed = as_logits(fast, self.output) if attempt.source is None else fast
        return with_fast_copy(attempt.loss, climbed, exact, y), fast.lay_out(batch.x.clone())

    def as_run(self, attempt: Attempt) -> Attempt:
        """The attempt as it was made: on these classes, in the precision that its copy came to.

        A precision that ruins the answers is not used.
        """
        fitted = attempt.for_classes(self.classes) if self.classes else attempt
        if attempt.is_gradient_free:
            return replace(fitted, precision=torch.float32)
        copy = self._copies.get(_key(attempt, self.model))
        return fitted if copy is None else replace(fitted, precision=copy.precision)

    def _copy(self, attempt: Attempt, x: Tensor) -> Prepared:
        key = _key(attempt, self.model)
        if key not in self._copies:
            network = attempt.source if isinstance(attempt.source, Classifier) else self.model
            self._copies[key] = prepare(network, x[:_EXAMPLES], key[1])
        return self._copies[key]


def contiguous(judge: Classify) -> Classify:
    """The same judge on contiguous images: it need not take the memory order that suits the copy."""

    def classify(x: Tensor) -> Tensor:
        return judge(x.contiguous())

    return classify


def _key(attempt: Attempt, model: Classifier) -> tuple[int, torch.dtype]:
    precision = torch.float32 if attempt.is_gradient_free else attempt.precision
    return id(model if attempt.source is None else attempt.source), precision
