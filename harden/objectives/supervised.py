"""Plain training, and the linear probe: the controls that every comparison needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from harden.attacks import Attack
from harden.data import Batch
from harden.errors import InputError
from harden.models import Classifier, frozen
from harden.models.logits_of_output import binary
from harden.objectives.class_weighting import ClassWeights, checked_weights, cross_entropy
from harden.objectives.fast_copy_state import attacked_cross_entropy
from harden.objectives.objective import ClassifierState, Step, classifier_of
from harden.objectives.projection_head import feature_width
from harden.system.shards import current_shard
from harden.views import View


@final
@dataclass(frozen=True, slots=True)
class Standard:
    """Plain training: mean_i CE(z(v(x_i)), y_i).

    Args:
        views: augmentation v; none by default.
        label_smoothing: mass moved from the label to all classes, in [0, 1).
        class_weights: a weight for each class, which makes the mean a weighted one; () for none.

    Raises:
        InputError: a weight is negative or not finite, or none is positive.
    """

    views: View | None = None
    label_smoothing: float = 0.0
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier alone."""
        return ClassifierState(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The mean cross-entropy of the batch, weighted by class where there are weights."""
        x = augmented(self.views, batch, step)
        with step.autocast():
            logits = classifier_of(state).logits(x)
        return cross_entropy(logits, batch.y, self.class_weights, self.label_smoothing)


@final
class ProbeState(nn.Module):
    """Holds the encoder still, statistics included; only the head trains."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        classifier.requires_grad_(False)
        classifier.head.requires_grad_(True)

    def train(self, mode: bool = True) -> ProbeState:
        """Training mode never reaches the encoder: its BatchNorm statistics are part of the features."""
        super().train(False)
        self.training = mode
        return self


@final
@dataclass(frozen=True, slots=True)
class LinearProbe:
    """mean_i CE(h(f(x_i)), y_i) over the head h, with the encoder f fixed: measures the features alone.

    With an attack, mean_i CE(h(f(x'_i)), y_i), where x'_i is found by the attack on the cross-entropy of the
    network as it is. As a stage before adversarial fine-tuning this initialises the head of a network that
    was trained on other data (RoLI: Hua et al., 2312.05716).

    A step costs a forward for each image, and the attack's passes where there is one.

    Args:
        class_weights: a weight for each class, which makes the mean a weighted one; () for none.
        attack: how x' is searched; None for the images as they are.

    Raises:
        InputError: a weight is negative or not finite, or none is positive.
    """

    class_weights: ClassWeights = ()
    attack: Attack | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier with everything but its head frozen.

        Raises:
            InputError: the head is not linear.
        """
        feature_width(model, "a linear probe")
        return ProbeState(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The mean cross-entropy of the batch, weighted by class where there are weights."""
        classifier, x = classifier_of(state), batch.x
        if self.attack is not None:
            with frozen(classifier):
                loss = attacked_cross_entropy(classifier.logits, batch.y)
                x = self.attack(loss, x, step.threat, step.draws(batch.index))
        with torch.no_grad():
            features = classifier.features(x)
        weight = next(classifier.head.parameters())
        logits = binary(classifier.head(features.to(weight.dtype))).float()
        if step.number == 0:
            _check_last(classifier, x[:2], logits[:2])
        return cross_entropy(logits, batch.y, self.class_weights)


@torch.no_grad()
def _check_last(classifier: Classifier, x: Tensor, logits: Tensor) -> None:
    """Refuse a head that something follows: the probe would train another function than the network's."""
    whole = classifier.bare_logits(x).float()  # two images once: not counted
    scale = float(whole.abs().max())
    if whole.shape != logits.shape or float((whole - logits).abs().max()) > 1e-3 * max(scale, 1.0):
        raise InputError(
            f"the head {classifier.head_name!r}, whose answer is not the network's",
            "a head that nothing follows, for a linear probe",
            "return the head's answer as logits, or fine-tune with another objective",
        )


def augmented(views: View | None, batch: Batch, step: Step) -> Tensor:
    """The batch's images under the views, or as they are.

    Of a part of a batch, the whole batch's views are drawn: each image's view is that of one process.
    """
    if views is None:
        return batch.x
    shard = current_shard()
    if shard is None:
        return views(batch.x, step.generator)
    return views(shard.images, step.generator)[shard.start : shard.stop]
