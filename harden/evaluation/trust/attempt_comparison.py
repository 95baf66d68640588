"""Trust checks that compare attempts: successes of weaker or gradient-free ones, and of more steps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from harden.evaluation.attempt import Attempt
from harden.evaluation.results.batch_outcome import AttemptTotals
from harden.evaluation.results.result import TrustCheck
from harden.evaluation.trust.closing_attempts import NOISE, ONE_STEP, RESERVED, TWICE, TWICE_ON
from harden.statistics import Proportion

MORE_SHARE = 0.005
BLACK_BOX_SHARE = 0.01
SIMPLE_SHARE = 0.005
INDEPENDENT_SHARE = 0.02
FEW = 2

SIMPLE = {
    ONE_STEP: ("one step beats many", "one step along the gradient's sign or direction"),
    NOISE: ("noise beats the attacks", "random noise"),
}
"""Attempts that break no image after effective attacks: the name of the trust check, and the attack."""


def comparison_checks(attempts: Sequence[Attempt], by: Tensor) -> tuple[TrustCheck, ...]:
    """All trust checks that compare the images broken by each attempt.

    Args:
        attempts: in the order in which they ran.
        by: position of the attempt that broke each image, or -1, int64 (n,).
    """
    return (
        more_steps_add_nothing(attempts, by),
        white_box_suffices(attempts, by),
        *simple_attacks_add_nothing(attempts, by),
    )


def more_steps_add_nothing(attempts: Sequence[Attempt], by: Tensor) -> TrustCheck:
    """Fires when Auto-PGD on the margin with twice the steps breaks images that no attempt broke.

    The optimisation was not complete then (Pintor et al., 2106.09947). It is made on the first images; up to
    two are not counted, however few there are. Its successes count in robust accuracy, which is too high by
    those on the other images: the value is the lower end, at 95 %, of the exact interval for that share. So
    the check fires where robust accuracy is too high by more than MORE_SHARE, and not by chance.
    """
    count, n = _broken_by(attempts, by, TWICE), min(len(by), TWICE_ON)
    return TrustCheck(
        "complete optimisation",
        _at_least(count, n) if count > FEW else 0.0,
        MORE_SHARE,
        "share that twice the steps break after all attacks have failed, at least, at 95 %: "
        f"{count} of the first {n} images",
        "give the attacks twice the steps, until this falls",
    )


def white_box_suffices(attempts: Sequence[Attempt], by: Tensor) -> TrustCheck:
    """Fires when attempts without the network's gradient break images that those with it did not.

    The gradients then mislead (Athalye et al., 1802.00420; Carlini et al., 1902.06705). Without an attempt
    that uses the network's gradient there is nothing to compare, and the check passes.
    """
    white = [place for place, attempt in enumerate(attempts) if attempt.is_white_box]
    first = white[0] if white else len(attempts)
    after = [place for place in range(first, len(attempts)) if place not in white]
    count = sum(int((by == place).sum()) for place in after if attempts[place].name not in RESERVED)
    return TrustCheck(
        "black box beats white box",
        _beyond_chance(count, len(by)),
        BLACK_BOX_SHARE,
        "share of images that gradients missed and an attack without them, or from another network, broke, "
        f"{count} of {len(by)}",
        "find what hides the gradients (rounding, saturation, randomness), and attack without it",
    )


def independent_attacks_add_nothing(
    attempts: Sequence[Attempt], efforts: Sequence[AttemptTotals]
) -> TrustCheck:
    """Fires when transfer or labels alone break unbroken images, where gradients broke few.

    The share is of the images that they were made on, the first ones, so that it does not shrink with n.
    Where neither `standard` nor `thorough` is run, or gradients broke enough, there are none.
    """
    made = [effort for attempt, effort in zip(attempts, efforts, strict=True) if attempt.if_gradients_fail]
    met = max((effort.attempted for effort in made), default=0)
    count = sum(effort.broken for effort in made)
    return TrustCheck(
        "independent attacks",
        _beyond_chance(count, met),
        INDEPENDENT_SHARE,
        "share of the first images that a part of the network, a student or labels alone helped to break, "
        f"{count} of {met}",
        "attack what the network's gradient leaves out; it is not what decides",
    )


def simple_attacks_add_nothing(attempts: Sequence[Attempt], by: Tensor) -> tuple[TrustCheck, ...]:
    """Fire when a single step, or noise, breaks images that the attacks did not."""
    checks = []
    for name, (check, what) in SIMPLE.items():
        count = _broken_by(attempts, by, name)
        checks.append(
            TrustCheck(
                check,
                _beyond_chance(count, len(by)),
                SIMPLE_SHARE,
                f"share of images that {what} broke after all attacks had failed, {count} of {len(by)}",
                "the attacks do not maximise their loss: check their step sizes, and the network's gradients",
            )
        )
    return tuple(checks)


def _broken_by(attempts: Sequence[Attempt], by: Tensor, name: str) -> int:
    names = [attempt.name for attempt in attempts]
    return int((by == names.index(name)).sum()) if name in names else 0


def _at_least(count: int, n: int) -> float:
    """The lower end of the exact one-sided interval at 95 % for a share observed as count of n."""
    return Proportion(count, n, confidence=0.9).interval[0]


def _beyond_chance(count: int, n: int) -> float:
    """The share of n images; up to FEW images count as none."""
    return count / max(n, 1) if count > FEW else 0.0
