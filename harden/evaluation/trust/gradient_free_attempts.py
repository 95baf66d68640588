"""Attempts without the network's gradient, and the conditions under which suites make them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harden.attacks import APGD, RayS
from harden.evaluation.attempt import Attempt
from harden.evaluation.results.result import TrustCheck
from harden.evaluation.transfer.distilled_student import Student
from harden.evaluation.transfer.inner_network import PartInside
from harden.evaluation.trust.probe_texts import Probe
from harden.losses import Margin

FEW_BROKEN = 0.25
"""Gradients fail where they break at most this share of the images that no other attempt broke."""

LATE_SHARE, LATE_LEAST, MANY = 0.1, 2, 3
"""If the last of MANY attempts with gradients breaks more than these, gradients misled those before it."""

SIGNS = frozenset({Probe.FIDELITY.value, Probe.STEPS.value, Probe.VALUES.value})
"""The trust checks that show before any attack that gradients or scores mislead."""


def independent_attempts(images: int, queries: int, steps: int) -> tuple[Attempt, ...]:
    """Transfer from a part of the network and from a student, then labels alone, on the first images.

    Args:
        images: number of the first images that are attacked.
        queries: of RayS for labels, per image.
        steps: of the student's training.
    """
    attacks = (
        ("part-inside", APGD(steps=100, stop_early=True), PartInside()),
        ("student", APGD(steps=100, stop_early=True), Student(steps)),
        ("labels", RayS(queries=queries), None),
    )
    return tuple(
        Attempt(name, attack, Margin, source=source, only_first=images, if_gradients_fail=True)
        for name, attack, source in attacks
    )


def gradients_fail(attempts: Sequence[Attempt], by: Tensor, right: Tensor) -> bool:
    """Return whether attempts with the network's gradient broke few images, or missed some.

    Few are at most FEW_BROKEN of the images that they broke and that none broke. Where an attempt without
    gradients broke an image after them, gradients missed it, however many they broke elsewhere. The same
    holds where the last attempt with gradients still broke many (`LATE_SHARE`) of the images that those
    before it did not: they use the same gradients and should have succeeded.

    Args:
        attempts: in the order in which they run.
        by: position of the attempt that broke each image, or -1, int64 (N,).
        right: whether each image is classified correctly, bool (N,).
    """
    white = [place for place, attempt in enumerate(attempts) if attempt.is_white_box]
    blind = [place for place, attempt in enumerate(attempts) if attempt.is_gradient_free]
    blind = [
        place for place in blind if not attempts[place].if_gradients_fail and place > min(white, default=0)
    ]
    if white and bool(torch.isin(by, by.new_tensor(blind)).any()):
        return True
    if _late(attempts, white, by, right):
        return True
    broken = int(torch.isin(by, by.new_tensor(white)).sum())
    return broken <= FEW_BROKEN * (broken + int((right & (by < 0)).sum()))


def _late(attempts: Sequence[Attempt], white: Sequence[int], by: Tensor, right: Tensor) -> bool:
    """Return whether the last of several attempts with gradients broke many of the images it was made on."""
    extra = next((at for at, each in enumerate(attempts) if each.if_gradients_fail), len(attempts))
    before = [place for place in white if place < extra]
    if len(before) < MANY:
        return False
    late = int((by == before[-1]).sum())
    met = late + int((right & ((by < 0) | (by > before[-1]))).sum())
    return late > max(LATE_LEAST, LATE_SHARE * met)


def misleads(probes: Sequence[TrustCheck]) -> bool:
    """Return whether a probe shows that gradients or scores mislead."""
    return any(check.name in SIGNS and not check.passed for check in probes)
