"""Closing attempts of an evaluation: one step, noise and twice the steps, as sanity checks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harden.attacks import APGD, FGSM, RandomNoise, Targeted
from harden.evaluation.attempt import Attempt
from harden.losses import CrossEntropy, Margin

ONE_STEP, NOISE, TWICE = "one-step", "noise", "twice-the-steps"
RESERVED = (ONE_STEP, NOISE, TWICE)
TWICE_ON = 256
"""Number of the first images on which the steps are doubled, which bounds the cost for any n."""

LEAST, MOST = 20, 200
"""Limits of the steps of the doubled attack."""


def closing_attempts(attempts: Sequence[Attempt], *, differentiable: bool) -> tuple[Attempt, ...]:
    """The closing attempts after these; without a gradient noise alone.

    One step from the image, ten random points, and on the first images Auto-PGD on the margin with twice as
    many steps as the longest white-box attempt.
    """
    # In the precision of the others: every precision is a copy of the network.
    precision = attempts[-1].precision if attempts else torch.float32
    noise = Attempt(NOISE, RandomNoise(samples=10), Margin, precision)
    if not differentiable:
        return (noise,)
    found = (Attempt(ONE_STEP, FGSM(), CrossEntropy, precision), noise)
    white = [attempt for attempt in attempts if attempt.is_white_box]
    if not white:
        return found
    steps = min(max(LEAST, 2 * max(_steps(attempt.attack) for attempt in white)), MOST)
    return (
        *found,
        Attempt(TWICE, APGD(steps=steps, stop_early=True), Margin, precision, only_first=TWICE_ON),
    )


def _steps(attack: object) -> int:
    inner = attack.attack if isinstance(attack, Targeted) else attack
    steps = getattr(inner, "steps", 0)  # a user's own attack need not have it
    return steps if isinstance(steps, int) else 0
