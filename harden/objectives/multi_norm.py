"""Adversarial training against several threats at once."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from harden.attacks import Attack
from harden.data import Batch
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction
from harden.models import Classifier
from harden.objectives.class_weighting import ClassWeights
from harden.objectives.objective import ChecksFirst, Objective, Step, stronger
from harden.threats import Threat

_COMBINATIONS = ("max", "average")


@final
@dataclass(frozen=True, slots=True)
class MultiNorm:
    """An objective's loss against the run's threat and others, all of them (Tramèr and Boneh, 1904.13000).

    With "max", the attack gives each image that of the perturbations found for each threat which has the
    largest loss under attack, and the objective is taken on these images. With "average" it is the mean of
    the objective over the threats, each with its own attack, views being the same.

    The run's threat has eps as the loop ramps it, the others are scaled by the same share. Validation and
    certificate are about the run's threat. Perturbation by the steepest of several norms in each step (MSD,
    1909.04068) is not built.

    With T threats in all, a step costs T times the attack's passes and T / 3 for the comparison with "max",
    and T times the objective's with "average". Around it AWP uses the images that were found before the
    weights are moved; with "max" it compares their losses again.

    Args:
        objective: a dataclass with a field `attack`, such as `AdversarialTraining`, `TRADES` or `MART`.
        threats: the other threats, at their full eps.
        combine: "max" or "average".

    Raises:
        InputError: the objective has no attack, there are no other threats, or the combination is another.
    """

    objective: Objective
    threats: tuple[Threat, ...]
    combine: Literal["max", "average"] = "max"

    def __post_init__(self) -> None:
        object.__setattr__(self, "threats", tuple(self.threats))
        if _attack_of(self.objective) is None:
            raise InputError(
                f"MultiNorm around {type(self.objective).__name__}, which has no attack of any norm",
                "an objective with a field `attack`",
                "write MultiNorm(AdversarialTraining(), threats); AWP goes around it: AWP(MultiNorm(...))",
            )
        if not self.threats:
            raise InputError(
                "MultiNorm with no other threat",
                "the threats in addition to the run's own",
                'write MultiNorm(objective, (L2("1/2"),))',
            )
        if self.combine not in _COMBINATIONS:
            seen = f"a combination {self.combine!r}"
            raise InputError(seen, "max or average", 'write MultiNorm(objective, threats, "max")')

    @property
    def class_weights(self) -> ClassWeights:
        """The objective's weight for each class; () where it has none."""
        weights: ClassWeights = getattr(self.objective, "class_weights", ())
        return weights

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """Check network and threats as the objective does, where it does.

        Raises:
            InputError: the objective can't train this network against one of the threats.
        """
        if isinstance(self.objective, ChecksFirst):
            for each in (threat, *self.threats):
                self.objective.check(model, image_shape, each)

    def stronger(self) -> Objective | None:
        """The same around the objective with more steps of its attack; None where that has enough."""
        following = stronger(self.objective)
        return None if following is None else replace(self, objective=following)

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The objective's own state: nothing is kept between steps."""
        return self.objective.start(model, n)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The objective's loss against the worst of the threats, or its mean over them."""
        others = tuple(threat.scaled(step.share) for threat in self.threats)
        if self.combine == "max":
            attack = _attack_of(self.objective)
            if attack is None:
                raise TypeError(f"{type(self.objective).__name__} has no attack")
            return with_attack(self.objective, _Worst(attack, others))(state, batch, step)
        drawn, losses = step.generator.get_state(), []
        for threat in (step.threat, *others):
            step.generator.set_state(drawn)  # the same views against each threat
            losses.append(self.objective(state, batch, replace(step, threat=threat)))
        return torch.stack(losses).mean()


@final
@dataclass(frozen=True, slots=True)
class _Worst:
    """For each image the perturbation of largest loss among those against several threats."""

    attack: Attack
    others: tuple[Threat, ...]

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        best, largest = x, x.new_full((len(x),), -torch.inf)
        for each in (threat, *self.others):
            found = self.attack(loss, x, each, draws)
            with torch.no_grad():
                value = loss(found).nan_to_num(-torch.inf)
            larger = value >= largest
            best = torch.where(larger.view(-1, *[1] * (x.dim() - 1)), found, best)
            largest = torch.where(larger, value, largest)
        return best


def with_attack(objective: Objective, attack: Attack) -> Objective:
    """The objective with another attack in its field `attack`."""
    changed: Any = objective
    made: Objective = replace(changed, attack=attack)
    return made


def _attack_of(objective: Any) -> Attack | None:
    """The attack in the objective's field `attack`; None where there is no such field, or nothing in it."""
    if not is_dataclass(objective) or "attack" not in {each.name for each in fields(objective) if each.init}:
        return None
    attack: Attack | None = getattr(objective, "attack", None)
    return attack
