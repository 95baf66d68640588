"""Upper bounds on a suite's cost: passes on an image that no attempt breaks."""

from __future__ import annotations

from collections.abc import Sequence

from harden.attacks import FAB, RandomNoise, RayS, Square, Targeted
from harden.evaluation.attempt import Attempt
from harden.evaluation.trust.closing_attempts import closing_attempts

_FORWARD = 1 / 3


def passes_at_most(attempts: Sequence[Attempt], classes: int) -> float:
    """Passes that all attempts, the closing ones included, take on an image that stays unbroken.

    The probes of the first images are not counted, and a user's own attack counts by its `steps` and
    `restarts`, or not at all. A forward counts as a third.

    Args:
        attempts: as they are given to `harden.evaluate`.
        classes: of the network.
    """
    return given_passes(attempts, classes) + closing_passes(attempts, classes)


def given_passes(attempts: Sequence[Attempt], classes: int) -> float:
    """As `passes_at_most`, without the closing attempts."""
    return sum(_of(attempt.attack, classes) for attempt in attempts)


def closing_passes(attempts: Sequence[Attempt], classes: int) -> float:
    """Passes that the closing attempts take on such an image, if it is one of the first."""
    return sum(_of(attempt.attack, classes) for attempt in closing_attempts(attempts, differentiable=True))


def _of(attack: object, classes: int) -> float:
    if isinstance(attack, Targeted):
        return _FORWARD + min(attack.classes, classes - 1) * (_of(attack.attack, classes) + _FORWARD)
    if isinstance(attack, Square):
        return _FORWARD * attack.restarts * (attack.queries + 1)
    if isinstance(attack, RayS):
        return _FORWARD * attack.queries
    if isinstance(attack, RandomNoise):
        return _FORWARD * attack.samples
    steps, restarts = getattr(attack, "steps", 0), getattr(attack, "restarts", 1)
    each = 1 + _FORWARD if isinstance(attack, FAB) else 1.0
    return float(restarts) * (each * steps + _FORWARD)
