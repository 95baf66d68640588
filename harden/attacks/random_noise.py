"""Random points of the ball, the baseline of every attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from harden.attacks.attack import searching
from harden.attacks.engine.argument_checks import check_counts, check_draws
from harden.attacks.engine.best_point import Point
from harden.attacks.engine.loss_adapter import LossAdapter
from harden.attacks.engine.success_steps import current_record
from harden.draws import Draws
from harden.losses import LossFunction
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class RandomNoise:
    """x + d, d random in the ball and random on its rim by turns; the best of all is kept, as in `PGD`.

    It needs no gradient, and with a `harden.losses.Loss` it ends work on an image at the first error. A
    gradient attack that finds fewer errors has useless gradients (Carlini et al., 1902.06705).

    Args:
        samples: points for each image.

    Raises:
        InputError: fewer than one.
    """

    samples: int = 10
    gradient_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_counts(self.samples, 1, "write RandomNoise(samples=10)")

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Attack the images x (N, C, H, W), float32, and return x_adv of the same shape, without gradient."""
        check_draws(draws, x)
        if len(x) == 0:
            return x.detach().clone()
        with searching(x) as clean:
            best, whole, record = Point.none(clean), LossAdapter(loss), current_record(len(x))
            rows = torch.arange(len(x), device=x.device)
            for sample in range(self.samples):
                near = draws.fold(sample).take(rows)
                point = whole.take(rows).exactly(_sample(threat, clean[rows], near, sample))
                best.take_over_(point, rows)
                if record is not None:
                    record.note(rows[point.wrong], sample + 1)
                if whole.judges:
                    rows = (~best.wrong).nonzero().squeeze(1)
                if len(rows) == 0:
                    break
            if record is not None:
                record.total = self.samples
            return best.x


def _sample(threat: Threat, x: Tensor, draws: Draws, number: int) -> Tensor:
    if number % 2 == 0:
        return threat.start(x, draws)
    # A step as long as the ball is wide ends on its rim.
    x_adv, length = x.clone(), torch.full((1,), 2.0 * float(threat.eps), device=x.device)
    threat.step_(x_adv, x, draws.normal(tuple(x.shape[1:])).to(x.device), length)
    return x_adv
