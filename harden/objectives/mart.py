"""MART: adversarial training that weighs the divergence by how wrong the clean answer is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import Attack
from harden.data import Batch
from harden.errors import InputError
from harden.losses import divergence
from harden.models import Classifier, FastCopy
from harden.objectives.adversarial_training import FAST, TRAINING_ATTACK, more_steps
from harden.objectives.class_weighting import ClassWeights, checked_weights, weighted_mean
from harden.objectives.fast_copy_state import AttackedState, attacked_cross_entropy, attacked_state
from harden.objectives.objective import Objective, Step
from harden.objectives.supervised import augmented
from harden.views import View


@final
@dataclass(frozen=True, slots=True)
class MART:
    """mean_i BCE(z(x'_i), y_i) + beta (1 - p_{y_i}(x_i)) KL(p(x_i) || p(x'_i)), with p = softmax z.

    BCE(z, y) = -log p_y - log(1 - max_{k != y} p_k), and x' is found by the attack on the cross-entropy. The
    gradient flows through both distributions and through the factor 1 - p_y(x), as in the published code.
    Both logarithms are computed from the logits, without the constants that the published code adds to
    probabilities: the loss and its gradient are finite where the softmax saturates.

    A step costs the attack's passes and two more for each image: clean and attacked images share a forward.

    Source: Wang et al., Improving Adversarial Robustness Requires Revisiting Misclassified Examples (ICLR
    2020, openreview.net/forum?id=rklOg6EFwS).

    Args:
        beta: weight of the divergence, lambda in the paper; 5 there, 6 in a part of the published code.
        attack: how x' is searched; PGD-2 by default.
        views: augmentation before the attack; none by default.
        class_weights: a weight for each class, which makes the mean a weighted one; () for none.
        steering: the form of the network's copy whose gradients the attack uses; None for the network itself.

    Raises:
        InputError: beta is negative or not finite, a weight is negative or not finite, or none is positive.
    """

    beta: float = 5.0
    attack: Attack = TRAINING_ATTACK
    views: View | None = None
    class_weights: ClassWeights = ()
    steering: FastCopy | None = FAST

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        if not 0 <= self.beta < float("inf"):
            raise InputError(f"beta {self.beta}", "a weight of 0 or more", "write MART(beta=5)")

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier, with its fast copy."""
        return AttackedState(model, self.steering)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The boosted cross-entropy of the attacked batch plus beta times the weighted divergence."""
        attacked = attacked_state(state)
        x, y = augmented(self.views, batch, step), batch.y
        with attacked.still(x, bfloat16=step.bfloat16) as classify:
            loss, clean = attacked_cross_entropy(classify, y), attacked.lay_out(x)
            x_adv = self.attack(loss, clean, step.threat, step.draws(batch.index)).contiguous()
        # One forward for both halves: BatchNorm sees clean and attacked images together.
        with step.autocast():
            right, wrong = attacked.classifier.logits(torch.cat((x, x_adv))).chunk(2)
        log_p = right.log_softmax(1)
        doubt = 1 - log_p.gather(1, y.unsqueeze(1)).squeeze(1).exp()
        losses = boosted_cross_entropy(wrong, y) + self.beta * doubt * divergence(log_p, wrong)
        return weighted_mean(losses, y, self.class_weights, right.shape[1])

    def stronger(self) -> Objective | None:
        """The objective with twice the steps of PGD; None from 8 steps on, and for other attacks."""
        attack = more_steps(self.attack)
        return None if attack is None else replace(self, attack=attack)


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log p_y - log(1 - max_{k != y} p_k), in nats, for logits (N, K), K >= 2, and labels (N,): (N,)."""
    second = logits.detach().scatter(1, y.unsqueeze(1), -torch.inf).argmax(1, keepdim=True)
    # log(1 - p_k) by the sum over all classes but k: 1 - p_k itself rounds to 0 where class k has nearly all.
    rest = logits.scatter(1, second, -torch.inf).logsumexp(1)
    return functional.cross_entropy(logits, y, reduction="none") + logits.logsumexp(1) - rest
