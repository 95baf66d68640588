"""Adversarial training by one gradient step from noise: N-FGSM, and the attack of FGSM-RS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.attacks.attack import loss_and_gradient
from harden.data import Batch
from harden.errors import InputError
from harden.losses import LossFunction
from harden.models import Classifier, FastCopy
from harden.objectives.adversarial_training import FAST, AdversarialTraining
from harden.objectives.class_weighting import ClassWeights, checked_weights, cross_entropy
from harden.objectives.fast_copy_state import AttackedState, attacked_cross_entropy, attacked_state
from harden.objectives.objective import Objective, Step
from harden.objectives.supervised import augmented
from harden.threats import ChannelLinf, Linf, Threat
from harden.threats.budgets import float32
from harden.views import View

FGSM_RS: Final = PGD(steps=1, step_size=1.25, keep_best=False)
"""One step of 1.25 eps from a uniform start, projected onto the ball (Wong et al., 2001.03994).

`AdversarialTraining(FGSM_RS)` is FGSM-RS, at 2 passes for each image.
"""


@final
@dataclass(frozen=True, slots=True)
class NFGSM:
    """mean_i CE(z(x'_i), y_i), x' = B(x + n + alpha eps sign(grad CE(x + n))) (de Jorge et al., 2202.01181).

    n is uniform in [-k eps, k eps]^d, cut so that x + n is an image; B clips to the box of pixels. Nothing
    is projected onto the ball, so |x' - x| reaches (k + alpha) eps. With a `ChannelLinf`, eps is that of each
    channel. As for `AdversarialTraining`, the attack sees the network in inference mode, and its gradient is
    that of the cross-entropy without label smoothing.

    A step costs 2 passes for each image. Training of one step can overfit to its attack: robust accuracy
    under PGD then falls to 0, while that under one step rises. The guards of `Stage` see it, and go on with
    `stronger`.

    Args:
        noise: k, in multiples of eps; 2 in the paper.
        step_size: alpha, in multiples of eps; 1 in the paper.
        views: augmentation before the attack; none by default.
        label_smoothing: mass moved from the label to all classes, in [0, 1).
        class_weights: a weight for each class, which makes the mean a weighted one; () for none.
        steering: the form of the network's copy whose gradients the attack uses; None for the network itself.

    Raises:
        InputError: the noise is negative, the step size is not positive, or one is not finite; a weight is
            negative or not finite, or none is positive; when called, where the threat is not L-inf.
    """

    noise: float = 2.0
    step_size: float = 1.0
    views: View | None = None
    label_smoothing: float = 0.0
    class_weights: ClassWeights = ()
    steering: FastCopy | None = FAST

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        if not 0 <= self.noise < float("inf"):
            raise InputError(f"noise {self.noise}", "a multiple of eps, 0 or more", "write NFGSM(noise=2)")
        check_multiple(self.step_size, "write NFGSM(step_size=1)")

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """Refuse a threat that is not L-inf, before any training."""
        check_linf("N-FGSM", threat)

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier, with its fast copy."""
        return AttackedState(model, self.steering)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The mean cross-entropy of the perturbed batch."""
        threat, attacked = check_linf("N-FGSM", step.threat), attacked_state(state)
        x = augmented(self.views, batch, step)
        with attacked.still(x, bfloat16=step.bfloat16) as classify:
            clean, eps = attacked.lay_out(x), linf_budget(threat, x)
            noise = step.draws(batch.index).uniform(tuple(x.shape[1:])).mul_(2.0).sub_(1.0).to(x.device)
            start = (clean + self.noise * eps * noise).clamp(*threat.bounds)
            gradient = usable_gradient(attacked_cross_entropy(classify, batch.y), start)
            x_adv = (start + self.step_size * eps * gradient.sign()).clamp(*threat.bounds).contiguous()
        with step.autocast():
            logits = attacked.classifier.logits(x_adv)
        return cross_entropy(logits, batch.y, self.class_weights, self.label_smoothing)

    def stronger(self) -> Objective:
        """Adversarial training with two steps of PGD, and the same options where it has them."""
        return AdversarialTraining(
            views=self.views,
            label_smoothing=self.label_smoothing,
            class_weights=self.class_weights,
            steering=self.steering,
        )


def usable_gradient(loss: LossFunction, x: Tensor) -> Tensor:
    """The gradient (N, C, H, W) of a per-example loss at x, with 0 for entries that are not finite."""
    _, gradient = loss_and_gradient(loss, x)
    return gradient.nan_to_num(0.0, 0.0, 0.0)


def check_multiple(step_size: float, instead: str) -> None:
    """Refuse a step size that is not a positive, finite multiple of eps.

    Raises:
        InputError: it is not.
    """
    if not 0 < step_size < float("inf"):
        raise InputError(f"step size {step_size}", "a positive multiple of eps", instead)


def check_linf(method: str, threat: Threat) -> Linf | ChannelLinf:
    """Give a threat whose ball is a cube.

    Raises:
        InputError: it is another.
    """
    if not isinstance(threat, Linf | ChannelLinf):
        raise InputError(
            f"{method} against {threat!r}",
            "an L-inf threat: the step is along the gradient's sign",
            'write Linf("8/255"), or AdversarialTraining() for another norm',
        )
    return threat


def linf_budget(threat: Linf | ChannelLinf, x: Tensor) -> Tensor:
    """eps, or that of each channel, in a shape that broadcasts with images x (N, C, H, W).

    Raises:
        InputError: the budgets are those of another number of channels.
    """
    if isinstance(threat, Linf):
        return torch.tensor(float32(threat.eps), device=x.device)
    if x.shape[1] != len(threat.channels):
        raise InputError(
            f"images of shape {tuple(x.shape)} and budgets for {len(threat.channels)} channels",
            "a budget for each channel",
            "give as many budgets as the images have channels",
        )
    budgets = [float32(eps) for eps in threat.channels]
    return torch.tensor(budgets, device=x.device).view(1, -1, *[1] * (x.dim() - 2))
