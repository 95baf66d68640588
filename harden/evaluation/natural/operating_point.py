"""Decision thresholds for two classes; sensitivity and specificity, clean and robust."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.evaluation.results.result import Evaluation
from harden.losses import Classify
from harden.models import Classifier
from harden.models.logits_of_output import binary, select_logits
from harden.statistics import Proportion

# Halved it is still a normal float32, so that no processor's flush to zero undoes a positive decision.
_AHEAD = 2.0**-100


@final
@dataclass(frozen=True, slots=True)
class Thresholded:
    """A two-class network whose argmax is the decision at a threshold; see `thresholded`.

    Args:
        classify: images (N, C, H, W) to logits (N, 2).
        threshold: the probability of class 1 from which on an image is positive, in (0, 1).

    Raises:
        InputError: the threshold is outside (0, 1), or, when called, there are not two logits.
    """

    classify: Classify
    threshold: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", checked_threshold(self.threshold))

    def __call__(self, x: Tensor) -> Tensor:
        """Shifted logits (N, 2), float32, of images (N, C, H, W)."""
        return shifted(self.classify(x), self.threshold)


def thresholded(classify: Classify, threshold: float) -> Classify:
    """Shift a network's logits so that argmax is the decision at a threshold.

    With p = softmax(z) and t the threshold, an image is positive, class 1, iff p_1 >= t, that is iff
    z_1 - z_0 >= log(t / (1 - t)). The result is the logits (-s / 2, s / 2) with
    s = z_1 - z_0 - log(t / (1 - t)). So every loss, margin, attack and verdict on logits respects the
    threshold: the margin of a negative is s, of a positive -s.

    Guarantee: argmax is 1 exactly where z_1 - z_0 >= log(t / (1 - t)), both computed in float64. Equality is
    positive, also at t = 1/2, where argmax alone would take class 0: there s is 2^-100 in place of 0. Logits
    that are not finite stay so; those that are don't overflow.

    Args:
        classify: images (N, C, H, W) to logits (N, 2).
        threshold: t, in (0, 1).

    Raises:
        InputError: t is outside (0, 1) or NaN; when called, there are not two logits.
    """
    return Thresholded(classify, threshold)


def at_threshold(model: Classifier, threshold: float) -> Classifier:
    """A classifier with the same weights whose argmax is the decision at a threshold; see `thresholded`.

    For `evaluate` and `accuracy_curve`, whose attacks, trust checks and verdicts then respect it. The network
    is shared, not copied or changed: an export of `model` does not contain the threshold, an export of the
    returned classifier does.

    Args:
        model: of two classes; one with a single logit z is one with logits (0, z).
        threshold: t, in (0, 1).

    Raises:
        InputError: t is outside (0, 1) or NaN, model is no Classifier or has a threshold already; when
            called, there are not two logits.
    """
    threshold = checked_threshold(threshold)
    if not isinstance(model, Classifier):
        raise InputError(
            f"a {type(model).__name__}",
            "a harden.Classifier",
            "write thresholded(classify, t) for a callable",
        )
    if isinstance(model.network, AtThreshold):
        raise InputError(
            f"a model with the threshold {model.network.threshold}",
            "a model without one, for two thresholds would add up",
            "pass the model that it was made from",
        )
    network = AtThreshold(model.network, model.output, threshold)
    found = Classifier(network, head=f"inner.{model.head_name}")
    # The tensors themselves, on their device and with all their bits.
    found.harden_mean, found.harden_std = model.harden_mean, model.harden_std
    found.training = network.training = model.training
    return found


@final
class AtThreshold(nn.Module):
    """A network with shifted logits; made by `at_threshold`.

    Args:
        network: of two classes, shared.
        output: the part of its output that holds the logits, as in `Classifier`.
        threshold: in (0, 1).
    """

    def __init__(self, network: nn.Module, output: str | int | None, threshold: float) -> None:
        super().__init__()
        self.inner = network
        self.output = output
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """Shifted logits (N, 2) of normalised images."""
        return shifted(binary(select_logits(self.inner(x), self.output)), self.threshold)


def shifted(logits: Tensor, threshold: float) -> Tensor:
    """Logits (N, 2) with argmax the decision at a threshold: float32, or float64 where they come so.

    Raises:
        InputError: there are not two logits.
    """
    if logits.dim() != 2 or logits.shape[1] != 2:
        raise InputError(
            f"a decision threshold for logits of shape {tuple(logits.shape)}",
            "logits of two classes, (N, 2)",
            "leave the threshold out, or evaluate one class against all others",
        )
    offset = math.log(threshold) - math.log1p(-threshold)
    # In float64: in float32 rounding decides for images that lie at the threshold.
    ahead = logits[:, 1].double() - logits[:, 0].double() - offset
    at = (ahead >= 0) & (ahead < _AHEAD)
    ahead = ahead + at.to(ahead.dtype) * _AHEAD  # a constant: the gradient passes
    found = torch.stack((-ahead / 2, ahead / 2), dim=1)
    return found if logits.dtype == torch.float64 else found.float()


def checked_threshold(threshold: object) -> float:
    """A decision threshold as a number.

    Raises:
        InputError: it is outside (0, 1), NaN, or no number.
    """
    if isinstance(threshold, int | float) and 0.0 < threshold < 1.0:
        return float(threshold)
    raise InputError(
        f"a decision threshold of {threshold!r}",
        "a probability in (0, 1)",
        "write 0.5 for the larger of two logits, less for more sensitivity",
    )


@final
@dataclass(frozen=True, slots=True)
class ClassRate:
    """A share of the images of one class, clean and under attack.

    Attributes:
        clean: share classified correctly.
        robust: share classified correctly that no attempt broke: an upper bound, by attack.
    """

    clean: Proportion
    robust: Proportion


@final
@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Sensitivity and specificity, clean and robust, at the threshold that was evaluated.

    Each interval is exact (Clopper and Pearson) and holds for its rate alone; both together hold with at
    least twice the risk. They assume a threshold that was not chosen on these images.

    Attributes:
        positive: the class that counts as positive.
        sensitivity: the share of positives classified correctly; None where there are none.
        specificity: the share of negatives classified correctly; None where there are none.
        prevalence: the share of positives among the n images, which may differ from that in the clinic.
        status: of the evaluation; where it is "unreliable", so is every robust rate.
    """

    positive: int
    sensitivity: ClassRate | None
    specificity: ClassRate | None
    prevalence: Proportion
    status: str

    @property
    def missing(self) -> tuple[str, ...]:
        """The rates that are not defined, each with the reason."""
        none = ((self.sensitivity, "positive", "sensitivity"), (self.specificity, "negative", "specificity"))
        return tuple(
            f"no {kind} image among {self.prevalence.n}: nothing is known of {name}"
            for rate, kind, name in none
            if rate is None
        )


def operating_point(found: Evaluation, positive: int = 1) -> OperatingPoint:
    """Sensitivity and specificity from an evaluation of two classes.

    Sensitivity is the share of the images with label `positive` that are classified correctly,
    specificity that of the others. Robust, each is an upper bound, as robust accuracy is.

    Args:
        found: by `evaluate` on two classes, at a threshold where its model came from `at_threshold`.
        positive: the label that counts as positive, 0 or 1.

    Raises:
        InputError: the evaluation has labels or predictions of further classes, or positive is neither.
    """
    if positive not in (0, 1):
        raise InputError(f"positive class {positive!r}", "0 or 1", "write positive=1")
    highest = max(
        int(part.max()) for part in (found.labels, found.predictions, found.witnesses.prediction) if len(part)
    )
    if highest > 1:
        raise InputError(
            f"an evaluation with class {highest}",
            "one of two classes",
            "read found.per_class(), which gives every class its accuracy",
        )
    rates = {label: ClassRate(*pair) for label, pair in found.per_class().items()}
    return OperatingPoint(
        positive=positive,
        sensitivity=rates.get(positive),
        specificity=rates.get(1 - positive),
        prevalence=Proportion(int((found.labels == positive).sum()), len(found.labels)),
        status=found.status,
    )
