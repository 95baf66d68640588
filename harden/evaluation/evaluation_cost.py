"""Cost of an evaluation, extrapolated from short ones on a few images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from harden.data import Examples
from harden.evaluation import pgd_suite
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.models import Classifier, untouched
from harden.threats import Threat

_IMAGES = 64


@final
@dataclass(frozen=True, slots=True)
class EvaluationPace:
    """Cost of a suite of PGDs by steps and restarts.

    Attributes:
        passes: per second.
        step: passes of one step of every attempt of the suite on one image.
        start: passes of one restart of every attempt without its steps.
        clean: passes on an image before any attempt.
    """

    passes: float
    step: float
    start: float
    clean: float

    def per_image(self, steps: int, restarts: int) -> float:
        """Passes on an image that no attempt breaks."""
        return self.clean + restarts * (self.start + steps * self.step)


def evaluation_pace(
    model: Classifier, test: Examples, threat: Threat, batch_size: int, precision: torch.dtype = torch.float32
) -> EvaluationPace:
    """Measure the suite of PGDs with few steps on a few images, with eps 0, so that no image is broken."""
    images = test.take(torch.arange(min(_IMAGES, len(test), max(batch_size, 1))))
    with untouched(model), torch.no_grad():
        answers = model.logits(images.batch(torch.arange(len(images))).x.to(model.device)).argmax(1)
    data = (images.batch(torch.arange(len(images))).x, answers.cpu())
    zero = threat.scaled(0)
    costs = [
        evaluate_unchecked(model, data, zero, pgd_suite(steps, restarts, precision), batch_size=len(images))
        for steps, restarts in ((1, 1), (3, 1), (3, 2))
    ]
    one, three, twice = (found.passes / len(images) for found in costs)
    step = (three - one) / 2
    start = twice - three - 3 * step
    # The first one also warms up.
    speed = sum(found.passes for found in costs[1:]) / sum(found.seconds for found in costs[1:])
    return EvaluationPace(speed, step, start, one - start - step)
