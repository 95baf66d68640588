"""Detection of catastrophic overfitting: robust to the attack of training, and to no stronger one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from harden.attacks import PGD, Attack
from harden.data import Batch
from harden.draws import Draws, mix
from harden.losses import CrossEntropy, Margin
from harden.models import Classifier, frozen
from harden.objectives import Objective
from harden.objectives.awp import without_wrappers
from harden.threats import Threat

STRONGER: Final = PGD(steps=10, step_size=0.25, stop_early=True)
"""The attack with which that of training is compared, on the margin."""
ONE_STEP: Final = PGD(steps=1, step_size=1.0, random_start=False, keep_best=False)
"""The attack of objectives that have no field `attack`: one step of eps from the image."""
LARGEST: Final = 64
"""Images of a check, at most."""
SHARE: Final = 0.5
LEAST: Final = 0.15


@final
@dataclass(frozen=True, slots=True)
class AttackComparison:
    """Images that are classified correctly under the training's attack, and under PGD-10 too.

    Attributes:
        trained: those correct under the attack of training.
        stronger: those of them that are correct under PGD-10 on the margin as well.
        n: images.
    """

    trained: int
    stronger: int
    n: int

    @property
    def collapsed(self) -> bool:
        """Whether PGD-10 breaks more than half of what the training's attack leaves, and 0.15 n at least."""
        lost = self.trained - self.stronger
        return lost > SHARE * self.trained and lost >= LEAST * self.n


def training_attack(objective: Objective) -> Attack:
    """The attack of an objective in training; one step of eps where it has no field of this name."""
    attack: Attack = getattr(without_wrappers(objective), "attack", ONE_STEP)
    return attack


def largest_cost(objective: Objective, images: int) -> float:
    """Passes of a comparison on a batch at most: of both attacks, and of four forwards that judge them."""
    steps = getattr(training_attack(objective), "steps", STRONGER.steps)
    return min(images, LARGEST) * (steps + STRONGER.steps + 4 / 3)


def compare(
    objective: Objective, model: Classifier, batch: Batch, threat: Threat, seed: int
) -> AttackComparison:
    """Attack images of a batch as the objective does, and those that it leaves by PGD-10.

    The network is in inference mode, and is left as it was.

    Args:
        objective: with the attack of training.
        model: the network.
        batch: images (N, C, H, W), of which the first 64 are used.
        threat: at the eps of this moment.
        seed: of the random starts.
    """
    x, y, index = batch.x[:LARGEST], batch.y[:LARGEST], batch.index[:LARGEST]
    with frozen(model):
        draws = Draws(mix(seed, 0), index)
        weak = training_attack(objective)(CrossEntropy(model.logits, y), x, threat, draws)
        left = torch.nonzero(_correct(model, weak, y)).squeeze(1)
        if not len(left):
            return AttackComparison(0, 0, len(x))
        draws = Draws(mix(seed, 1), index[left])
        strong = STRONGER(Margin(model.logits, y[left]), x[left], threat, draws)
        stronger = int(_correct(model, strong, y[left]).sum())
    return AttackComparison(len(left), stronger, len(x))


@torch.no_grad()
def _correct(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    return model.logits(x).argmax(1) == y
