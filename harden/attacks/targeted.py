"""A targeted attack on the wrong classes in turn, the likeliest first (Croce & Hein, 2003.01690)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.attacks.attack import Attack, NearestAttack, searching
from harden.attacks.engine.argument_checks import check_draws
from harden.attacks.engine.best_point import Point
from harden.attacks.engine.loss_adapter import LossAdapter
from harden.attacks.engine.nearest_error import Nearest
from harden.attacks.engine.success_steps import SuccessSteps, current_record, recording
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import Loss, LossFunction, loss_with_verdicts
from harden.losses.loss import no_targeted_form
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class Targeted:
    """Runs an attack on the loss towards each of the likeliest wrong classes, on the images still unbroken.

    The classes are those of the largest logits at the clean image, the label left out. An untargeted loss
    follows the class that is ahead at the moment and may get stuck between two; an aimed one does not.

    Guarantee: as the attack's, for each class; an image on which the network errs is kept.

    Args:
        attack: gets the loss `loss.aimed(target)`, in each of its runs with draws of their own.
        classes: how many classes; 9 as published, all of them where there are fewer.

    Raises:
        InputError: classes below 1; when called, a loss that can't be aimed (CrossEntropy, Margin and DLR
            can).
    """

    attack: Attack
    classes: int = 9

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise InputError(f"{self.classes} classes", "at least one", "write Targeted(attack, classes=9)")

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Attack the images x (N, C, H, W), float32, and return x_adv of the same shape, without gradient."""
        check_draws(draws, x)
        aimed = _checked(loss)
        if len(x) == 0:
            return x.detach().clone()
        with searching(x) as clean:
            return self._search(aimed, clean, threat, draws)

    def nearest(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Nearest:
        """The nearest error that the attack finds towards any of the classes; it has to offer `nearest`.

        Raises:
            InputError: it does not, or the loss can't be aimed.
        """
        check_draws(draws, x)
        attack: object = self.attack
        if not isinstance(attack, NearestAttack):
            raise InputError(
                f"{type(attack).__name__}, which finds no nearest error",
                "an attack with `nearest`",
                "write Targeted(harden.attacks.FAB())",
            )
        aimed = _checked(loss)
        with searching(x) as clean:
            best = Nearest.none(clean)
            if len(x) == 0:
                return best
            targets = likeliest_others(aimed.logits(clean), aimed.y, self.classes)
            for rank in range(targets.shape[1]):
                part = attack.nearest(aimed.aimed(targets[:, rank]), clean, threat, draws.fold(rank))
                best.take_over_(part.x_adv, part.distance, part.distance.isfinite())
            return best

    def _search(self, loss: Loss, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        targets = likeliest_others(loss.logits(x), loss.y, self.classes)
        best, record = Point.none(x), current_record(len(x))
        for rank in range(targets.shape[1]):
            rows = (~best.wrong).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            own, aim = loss.take(rows), targets[rows, rank]
            part = None if record is None else SuccessSteps(len(rows), x.device)
            with recording(part):
                x_adv = self.attack(own.aimed(aim), x[rows], threat, draws.fold(rank).take(rows))
            best.take_over_(LossAdapter(own).exactly(x_adv), rows)
            if record is not None and part is not None:
                record.merge(rows, part)
        return best.x


def _checked(loss: LossFunction) -> Loss:
    """The loss as one that has a targeted form."""
    found = loss_with_verdicts(loss)
    if found is None:
        raise no_targeted_form(loss)
    found.aimed(found.y)  # raises where there is none
    return found


def likeliest_others(logits: Tensor, y: Tensor, most: int) -> Tensor:
    """The classes other than y by falling logit: (N, K), (N,) -> int64 (N, min(most, K - 1))."""
    others = logits.detach().float().nan_to_num(-torch.inf).scatter(1, y.unsqueeze(1), -torch.inf)
    # Stable, and the label is put behind all others, also behind those of minus infinity.
    order = others.argsort(stable=True, dim=1, descending=True)
    rest: Tensor = order[order != y.unsqueeze(1)].view(len(y), -1)
    return rest[:, :most]
