"""The attempts that close an evaluation: too simple, or too long, to add anything where others work."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harden.attacks import APGD, FGSM, RandomNoise, Targeted
from harden.evaluation.attempt import Attempt
from harden.losses import CrossEntropy, Margin

ONE_STEP, NOISE, TWICE = "one-step", "noise", "twice-the-steps"
RESERVED = (ONE_STEP, NOISE, TWICE)
TWICE_ON = 256
"""On so many of the first images the steps are doubled: what it costs is bounded, whatever n."""

LEAST, MOST = 20, 200
"""Steps of the doubled attack, at least and at most."""


def closing(attempts: Sequence[Attempt], *, differentiable: bool) -> tuple[Attempt, ...]:
    """What follows these attempts; without a gradient noise alone.

    One step from the image, ten random points, and on the first images Auto-PGD on the margin with twice as
    many steps as the longest attempt that climbs the network.
    """
    # In the precision of the others: every precision is a copy of the network.
    precision = attempts[-1].precision if attempts else torch.float32
    noise = Attempt(NOISE, RandomNoise(samples=10), Margin, precision)
    if not differentiable:
        return (noise,)
    found = (Attempt(ONE_STEP, FGSM(), CrossEntropy, precision), noise)
    climbing = [attempt for attempt in attempts if attempt.is_white_box]
    if not climbing:
        return found
    steps = min(max(LEAST, 2 * max(_steps(attempt.attack) for attempt in climbing)), MOST)
    return (
        *found,
        Attempt(TWICE, APGD(steps=steps, stop_early=True), Margin, precision, only_first=TWICE_ON),
    )


def _steps(attack: object) -> int:
    inner = attack.attack if isinstance(attack, Targeted) else attack
    steps = getattr(inner, "steps", 0)  # an attack of the user's own need not tell
    return steps if isinstance(steps, int) else 0
