"""A student trained on the judge's predictions, to transfer from (Papernot et al., 1602.02697)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.draws import Draws
from harden.evaluation.judge_outputs import predicted_classes
from harden.evaluation.transfer.surrogate import SurrogateContext
from harden.models import Classifier
from harden.models.pass_count import uncounted

LARGEST = 32
"""Largest side in pixels of the student's input; larger images are pooled."""


@final
@dataclass(frozen=True, slots=True)
class Student:
    """A small convolutional network trained on the judge's predictions in the ball around the images.

    Each step trains on every image once at a random point of the ball and once where its own loss is largest
    to first order, with the judge's class of each: so it learns the boundary where an attack would cross it.

    Args:
        steps: of Adam; each queries the judge twice per image.
        rate: initial learning rate, which decreases linearly.
    """

    steps: int = 100
    rate: float = 3e-3

    def network(self, scene: SurrogateContext) -> Classifier:
        """The trained student; the same for the same scene."""
        x = scene.batch.x.contiguous()
        with torch.no_grad():
            clean = scene.judge(x)
        made = Classifier(_small(x, clean.shape[1], scene.draws)).to(x.device)
        optimiser = torch.optim.Adam(made.parameters(), self.rate)
        with torch.inference_mode(mode=False), torch.enable_grad(), uncounted():
            for step in range(self.steps):
                optimiser.param_groups[0]["lr"] = self.rate * (1 - step / self.steps)
                points = self._points(made, scene, x, predicted_classes(clean).clamp_min(0), step)
                optimiser.zero_grad()
                torch.autograd.backward(functional.cross_entropy(made.logits(points), _labels(scene, points)))
                optimiser.step()
        return made.eval().requires_grad_(requires_grad=False)

    @staticmethod
    def _points(made: Classifier, scene: SurrogateContext, x: Tensor, y: Tensor, step: int) -> Tensor:
        """A random point of each image's ball, and one of large loss of the student."""
        start = scene.threat.start(x, scene.draws.fold(1 + step))
        point = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(
            functional.cross_entropy(made.logits(point), y, reduction="sum"), point
        )
        hard = start.clone()
        length = torch.full((1,), 2 * float(scene.threat.eps), device=x.device)
        scene.threat.step_(hard, x, gradient, length)
        return torch.cat([x if step % 4 == 0 else start, hard])


def _labels(scene: SurrogateContext, points: Tensor) -> Tensor:
    """The judge's classes, in batches no larger than the evaluation's own."""
    with torch.no_grad():
        parts = [
            predicted_classes(scene.judge(part)) for part in torch.split(points.detach(), len(scene.batch))
        ]
    return torch.cat(parts).clamp_min(0)


def _small(x: Tensor, classes: int, draws: Draws) -> nn.Module:
    """Three convolutions and two dense layers, weights of N(0, 2 / inputs) drawn by the seed (1502.01852)."""
    channels, height, width = x.shape[1:]
    size = (min(height, LARGEST), min(width, LARGEST))
    # On the meta device, so that torch's own generator draws nothing.
    with torch.device("meta"):
        made = nn.Sequential(
            nn.AdaptiveAvgPool2d(size),
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * -(-size[0] // 4) * -(-size[1] // 4), 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )
    made.to_empty(device=x.device)
    for number, weight in enumerate(made.parameters()):
        drawn = Draws(draws.seed, torch.tensor([number])).normal(tuple(weight.shape))[0]
        inputs = weight[0].numel()
        weight.data.copy_(drawn * (2 / inputs) ** 0.5 if weight.dim() > 1 else torch.zeros_like(drawn))
    return made
