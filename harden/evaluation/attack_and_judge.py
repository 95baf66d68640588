"""Attack on a batch, with its results projected onto the threat model and judged."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.data import Batch
from harden.draws import Draws
from harden.evaluation.attempt import Attempt
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.judge_outputs import judge_classes
from harden.threats import Threat


def attack_and_judge(
    attempt: Attempt, gradient_source: GradientSource, threat: Threat, batch: Batch, draws: Draws
) -> tuple[Tensor, Tensor, int]:
    """Attack a batch that the judge classifies correctly, then project and judge the results.

    Returns:
        images in float32, projected onto ball and box (N, C, H, W); the judge's classes (N,), the label
        itself where an image did not move or lies outside after projection; the number that do.
    """
    fitted = gradient_source.as_run(attempt)
    loss, x = gradient_source.loss(fitted, batch)
    x_adv = fitted.attack(loss, x, threat, draws).detach().to(batch.x)
    x_adv = x_adv.clone(memory_format=torch.contiguous_format)
    threat.project_(x_adv, batch.x)
    inside = threat.contains(x_adv, batch.x)
    # An image that did not move keeps its clean verdict, whatever batch it is in.
    moved = inside & (x_adv != batch.x).flatten(1).any(1)
    prediction = batch.y.clone()
    if bool(moved.any()):
        prediction[moved] = judge_classes(gradient_source.judge, x_adv[moved], batch.y[moved])
    return x_adv, prediction, int((~inside).sum())
