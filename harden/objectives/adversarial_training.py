"""Adversarial training: Madry's and TRADES."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, final

import torch
from torch import Tensor, nn

from harden.attacks import PGD, Attack
from harden.data import Batch
from harden.errors import InputError
from harden.losses import Divergence, divergence
from harden.models import Classifier, FastCopy
from harden.objectives.class_weighting import ClassWeights, checked_weights, cross_entropy, weighted_mean
from harden.objectives.cutmix import cutmix
from harden.objectives.fast_copy_state import AttackedState, attacked_cross_entropy, attacked_state
from harden.objectives.objective import Objective, Step
from harden.objectives.supervised import augmented
from harden.views import View

TRAINING_ATTACK = PGD(steps=2, step_size=0.75, keep_best=False)
FAST = FastCopy()
_ENOUGH: Final = 8
"""Steps of PGD that are not doubled any more."""


def more_steps(attack: Attack) -> Attack | None:
    """PGD with twice the steps, of length 1.5 eps / steps; None from 8 steps on, and for other attacks."""
    if not isinstance(attack, PGD) or attack.steps >= _ENOUGH:
        return None
    return replace(attack, steps=2 * attack.steps, step_size=0.75 / attack.steps)


@final
@dataclass(frozen=True, slots=True)
class AdversarialTraining:
    """mean_i CE(z(x'_i), y_i) with x'_i found by the attack on the same loss (Madry et al., 1706.06083).

    The attack sees the network in inference mode, so that its batches leave BatchNorm statistics alone.

    Args:
        attack: how x' is searched; PGD-2 by default.
        views: augmentation before the attack; none by default.
        label_smoothing: mass moved from the label to all classes, in [0, 1).
        class_weights: a weight for each class, which makes the mean a weighted one; () for none.
        steering: the form of the network's copy whose gradients the attack uses; None for the network itself.
        cutmix: probability that an image gets a rectangle of another one of its batch, after the views and
            before the attack, and both labels by their shares of the pixels (`harden.objectives.cutmix`).
            Rebuffi et al. (2103.01946) combine it with an average of the weights.

    Raises:
        InputError: a weight is negative or not finite, or none is positive; a probability outside [0, 1].
    """

    attack: Attack = TRAINING_ATTACK
    views: View | None = None
    label_smoothing: float = 0.0
    class_weights: ClassWeights = ()
    steering: FastCopy | None = FAST
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        if not 0 <= self.cutmix <= 1:
            seen = f"cutmix {self.cutmix}"
            raise InputError(seen, "a probability in [0, 1]", "write AdversarialTraining(cutmix=0.5)")

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier, with its fast copy."""
        return AttackedState(model, self.steering)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The mean cross-entropy of the attacked batch."""
        attacked = attacked_state(state)
        x, mixed = augmented(self.views, batch, step), None
        if self.cutmix > 0:
            mixed = cutmix(x, batch.y, self.cutmix, step.generator)
            x = mixed.x
        with attacked.still(x, bfloat16=step.bfloat16) as classify:
            loss = attacked_cross_entropy(classify, batch.y) if mixed is None else mixed.attacked(classify)
            clean = attacked.lay_out(x)
            x_adv = self.attack(loss, clean, step.threat, step.draws(batch.index)).contiguous()
        with step.autocast():
            logits = attacked.classifier.logits(x_adv)
        if mixed is not None:
            return mixed.cross_entropy(logits, self.class_weights, self.label_smoothing)
        return cross_entropy(logits, batch.y, self.class_weights, self.label_smoothing)

    def stronger(self) -> Objective | None:
        """The objective with twice the steps of PGD; None from 8 steps on, and for other attacks."""
        attack = more_steps(self.attack)
        return None if attack is None else replace(self, attack=attack)


@final
@dataclass(frozen=True, slots=True)
class TRADES:
    """mean_i CE(z(x_i), y_i) + beta KL(softmax z(x_i) || softmax z(x'_i)) (Zhang et al., 1901.08573).

    x' maximises the divergence. Both terms are means over the batch.

    Args:
        beta: weight of robustness against accuracy; 6 in the paper.
        attack: how x' is searched; PGD-2 by default.
        views: augmentation before the attack; none by default.
        class_weights: a weight for each class, which makes both means weighted ones; () for none.
        steering: the form of the network's copy whose gradients the attack uses; None for the network itself.

    Raises:
        InputError: beta is negative, the attack starts at x, a weight is negative or not finite, or none is
            positive.
    """

    beta: float = 6.0
    attack: Attack = TRAINING_ATTACK
    views: View | None = None
    class_weights: ClassWeights = ()
    steering: FastCopy | None = FAST

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        if not 0 <= self.beta < float("inf"):
            raise InputError(f"beta {self.beta}", "a weight of 0 or more", "write TRADES(beta=6)")
        if isinstance(self.attack, PGD) and not self.attack.random_start:
            # At x itself the divergence is at its minimum: its gradient there is rounding.
            seen = f"TRADES with {self.attack}"
            raise InputError(seen, "an attack with a random start", "write PGD(random_start=True, ...)")

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier, with its fast copy."""
        return AttackedState(model, self.steering)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The clean cross-entropy plus beta times the divergence under attack."""
        state = attacked_state(state)
        classifier = state.classifier
        x = augmented(self.views, batch, step)
        with state.still(x, bfloat16=step.bfloat16) as classify:
            clean = state.lay_out(x)
            with torch.no_grad():
                target = classify(clean).log_softmax(1)
            loss = Divergence(classify, target)
            x_adv = self.attack(loss, clean, step.threat, step.draws(batch.index)).contiguous()
        # One forward for both halves: BatchNorm sees clean and attacked images together.
        with step.autocast():
            right, wrong = classifier.logits(torch.cat((x, x_adv))).chunk(2)
        apart = divergence(right.log_softmax(1), wrong)
        robust = weighted_mean(apart, batch.y, self.class_weights, right.shape[1])
        return cross_entropy(right, batch.y, self.class_weights) + self.beta * robust

    def stronger(self) -> Objective | None:
        """The objective with twice the steps of PGD; None from 8 steps on, and for other attacks."""
        attack = more_steps(self.attack)
        return None if attack is None else replace(self, attack=attack)
