"""Gaussian data augmentation: training under noise, for randomized smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from harden.data import Batch
from harden.errors import InputError
from harden.models import Classifier
from harden.objectives.class_weighting import ClassWeights, checked_weights, cross_entropy
from harden.objectives.objective import ClassifierState, Step, classifier_of
from harden.objectives.supervised import augmented
from harden.views import View


@final
@dataclass(frozen=True, slots=True)
class GaussianAugmentation:
    """mean_i CE(z(v(x_i) + sigma g_i), y_i) with g_i ~ N(0, I), drawn anew at every step.

    The base classifier of randomized smoothing (Cohen et al., 1902.02918) sees images with noise of this
    sigma. Their radius holds for noise that is not clipped: x + sigma g leaves the box of pixels, here as
    there. Noise is added to pixels, before the network's normalisation. The threat has no effect on the loss;
    validation attacks the network without noise.

    A step costs 1 pass for each image.

    Args:
        sigma: standard deviation of the noise in pixel units of [0, 1]; the paper has 0.12, 0.25, 0.5 and 1.
        views: augmentation v, before the noise; none by default.
        label_smoothing: mass moved from the label to all classes, in [0, 1).
        class_weights: a weight for each class, which makes the mean a weighted one; () for none.

    Raises:
        InputError: sigma is negative or not finite; a weight is negative or not finite, or none is positive.
    """

    sigma: float = 0.25
    views: View | None = None
    label_smoothing: float = 0.0
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        if not 0 <= self.sigma < float("inf"):
            seen = f"noise of deviation {self.sigma}"
            raise InputError(seen, "a finite number of 0 or more", "write GaussianAugmentation(sigma=0.25)")

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier alone."""
        return ClassifierState(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The mean cross-entropy of the batch under noise, weighted by class where there are weights."""
        x = augmented(self.views, batch, step)
        noise = step.draws(batch.index).normal(tuple(x.shape[1:])).to(x.device)
        with step.autocast():
            logits = classifier_of(state).logits(torch.add(x, noise, alpha=self.sigma))
        return cross_entropy(logits, batch.y, self.class_weights, self.label_smoothing)
