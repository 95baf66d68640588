"""Networks that return probabilities or their logarithms, and the conversion to logits for losses."""

from __future__ import annotations

from enum import Enum
from typing import final

import torch
from torch import Tensor

from harden.errors import InputError
from harden.losses import Classify

ENOUGH = 8
"""Number of images that distinguishes the output of a sigmoid from a small logit."""


@final
class OutputKind(Enum):
    """The kind of a classifier's outputs."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOG_PROBABILITIES = "log-probabilities"


def output_of(answer: Tensor) -> OutputKind:
    """Classify outputs (N, K) as logits, probabilities or their logarithms, by all rows.

    Raises:
        InputError: a single output in [0, 1], as a sigmoid gives it, that was read as a logit: every image
            would be of class 1; a class that is minus infinity on every image: each would count as wrong.
    """
    rows = answer.detach().double()
    _refuse_masked(rows)
    rows = rows[rows.isfinite().all(1)]
    if len(rows) == 0 or rows.shape[1] < 2:
        return OutputKind.LOGITS
    _refuse_sigmoid(rows)
    if bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 1e-3).all()):
        return OutputKind.PROBABILITIES
    if bool((rows <= 0).all()) and bool((rows.logsumexp(1).abs() < 1e-3).all()):
        return OutputKind.LOG_PROBABILITIES
    return OutputKind.LOGITS


def as_logits(classify: Classify, output: OutputKind) -> Classify:
    """A classifier's logits: log p where it returns probabilities p, which inverts the softmax.

    The least positive float32 replaces a probability of 0. Its gradient is lost, as it is in the softmax: a
    trust check finds networks for which that matters.
    """
    if output is not OutputKind.PROBABILITIES:
        return classify

    def logits(x: Tensor) -> Tensor:
        return scores_of(classify(x), output)

    return logits


def scores_of(answer: Tensor, output: OutputKind) -> Tensor:
    """Outputs of a classifier (N, K) as logits."""
    if output is not OutputKind.PROBABILITIES:
        return answer
    return answer.clamp_min(torch.finfo(torch.float32).tiny).log()


def _refuse_sigmoid(rows: Tensor) -> None:
    if rows.shape[1] != 2 or len(rows) < ENOUGH or bool((rows[:, 0] != 0).any()):
        return
    p = rows[:, 1]
    if bool(((p >= 0) & (p <= 1)).all()) and float(p.min()) < 0.4 and float(p.max()) > 0.6:
        raise InputError(
            f"one output in [{float(p.min()):.3g}, {float(p.max()):.3g}] for each image, as of a sigmoid",
            "a logit, which is positive for class 1",
            "return the value before the sigmoid",
        )


def _refuse_masked(rows: Tensor) -> None:
    masked = (rows == -torch.inf).all(0)
    rest = rows[:, ~masked]
    if rest.numel() and bool(masked.any()) and bool(rest.isfinite().all()):
        classes = masked.nonzero().flatten().tolist()
        raise InputError(
            f"logits of -inf for class {', '.join(map(str, classes[:5]))} on all {len(rows)} images",
            "finite logits, for an image with any other counts as answered wrong",
            "mask the class with -1e4, or leave it out of the network",
        )
