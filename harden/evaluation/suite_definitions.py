"""Suites: the attempts of an evaluation, from a fast check to those for a published number.

In each the fastest comes first, and every attempt is made on the images that those before it did not break.
"""

from __future__ import annotations

import torch

from harden.attacks import APGD, FAB, PGD, Square, Targeted
from harden.evaluation.attempt import Attempt
from harden.evaluation.trust.gradient_free_attempts import independent_attempts
from harden.losses import DLR, CrossEntropy, Margin

FAB_PATIENCE = ((10, 1.8), (20, 1.5), (30, 1.4))
"""Pairs (k, r): FAB in `standard` ends on an image whose nearest error after k steps is beyond r eps."""

SQUARE_PATIENCE = ((500, 0.6), (1000, 0.85), (2000, 0.93))
"""Pairs (q, s): Square ends on an image whose margin after q queries is above the share s of the clean one.

`benchmarks/patience.py`, 200 digits, L-inf and L2: images on which FAB ends within 1.05 eps were at most
at 1.62, 1.40, 1.28 times their last distance by then.
"""


def pgd_suite(
    steps: int = 50, restarts: int = 3, precision: torch.dtype = torch.float32
) -> tuple[Attempt, ...]:
    """PGD on the cross-entropy, and on the margin, which has a gradient where the softmax is saturated."""
    attack = PGD(steps=steps, restarts=restarts, stop_early=True)
    return (
        Attempt(f"pgd-{steps}-ce", attack, CrossEntropy, precision),
        Attempt(f"pgd-{steps}-margin", attack, Margin, precision),
    )


def quick(precision: torch.dtype = torch.float32) -> tuple[Attempt, ...]:
    """The suite for every commit: Auto-PGD of 30 steps, untargeted, then to the three likeliest classes.

    At most about 190 passes for an unbroken image, closing attempts included.
    """
    return (
        Attempt("apgd-ce", APGD(steps=30, stop_early=True), CrossEntropy, precision),
        Attempt("apgd-t", Targeted(APGD(steps=30, stop_early=True), classes=3), DLR, precision),
    )


def standard() -> tuple[Attempt, ...]:
    """The suite for numbers that are compared: AutoAttack's attacks (Croce & Hein, 2003.01690), and more.

    Auto-PGD of 100 steps on the cross-entropy, then towards each of the nine likeliest classes; on the margin
    from three starts. Then the minimal-norm attack FAB towards the same classes, and
    Square, which needs no gradient, with 5,000 queries; both stop on images that are far from an error
    after a tenth of the way. At most about 4,400 passes for an unbroken image; most take far fewer.
    """
    return (
        Attempt("apgd-ce", APGD(steps=100, stop_early=True), CrossEntropy),
        Attempt("apgd-t", Targeted(APGD(steps=100, stop_early=True)), DLR),
        Attempt("apgd-margin", APGD(steps=100, restarts=3, stop_early=True), Margin),
        Attempt("fab-t", Targeted(FAB(steps=100, patience=FAB_PATIENCE)), Margin),
        Attempt("square", Square(queries=5000, stop_early=True, patience=SQUARE_PATIENCE), Margin),
        *independent_attempts(images=64, queries=2000, steps=100),
    )


def thorough() -> tuple[Attempt, ...]:
    """The most thorough suite: as `standard`, with five restarts, untargeted DLR, and twice the queries.

    At most about 17,000 passes for an unbroken image.
    """
    return (
        Attempt("apgd-ce", APGD(steps=100, restarts=5, stop_early=True), CrossEntropy),
        Attempt("apgd-dlr", APGD(steps=100, restarts=5, stop_early=True), DLR),
        Attempt("apgd-t", Targeted(APGD(steps=200, restarts=3, stop_early=True)), DLR),
        Attempt("apgd-margin", APGD(steps=200, restarts=5, stop_early=True), Margin),
        Attempt("fab-t", Targeted(FAB(steps=100, restarts=5)), Margin),
        Attempt("square", Square(queries=10_000, stop_early=True), Margin),
        *independent_attempts(images=128, queries=10_000, steps=300),
    )
