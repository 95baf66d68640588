"""Certificates under a time limit: the evaluated first images, and the measurements finished in time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch

from harden.data import Source, from_loader
from harden.evaluation import Attempt, Evaluation
from harden.evaluation.suite_cost import passes_at_most
from harden.evaluation.time_limit import OutOfTime, TimeLimit
from harden.evaluation.trust.probes import PASSES
from harden.models.pass_count import interruptible

Found = TypeVar("Found")
_CURVE = 100.0  # passes of the curve on an image that is unbroken at every eps
_BEFORE = 0.3  # of the suite's, for a model that is compared: mostly it is not robust


def attack_share(attempts: Sequence[Attempt], classes: int, *, compared: bool) -> float:
    """The attacks' share of the time, next to curve and comparison, by upper bounds on their passes."""
    attacks = passes_at_most(attempts, classes) + PASSES
    return attacks / (attacks + _CURVE + (_BEFORE * attacks if compared else 0.0))


def in_time(pace: TimeLimit, what: str, work: Callable[[], Found]) -> Found | None:
    """The result of some work, or None, with a warning, where time was up before its end."""
    if not pace.limited:
        return work()
    try:
        with interruptible(pace.check):
            pace.check()
            return work()
    except OutOfTime:
        logging.getLogger("harden").warning("time was up: the certificate has no %s", what)
        return None


def finished_part(source: Source, found: Evaluation) -> tuple[Source, Evaluation]:
    """The evaluated images as a source of their own, with their evaluation."""
    if found.complete:
        return source, found
    n = len(found.labels)
    take: Any = getattr(source, "take", None)
    if take is not None:
        first: Source = take(torch.arange(n))
        return first, replace(found, left=0)
    images, labels, count = [], [], 0
    for batch in source.epoch(None):
        images.append(batch.x[: n - count].cpu())
        labels.append(batch.y[: n - count].cpu())
        count += len(images[-1])
        if count >= n:
            break
    return from_loader((torch.cat(images), torch.cat(labels)), source.batch_size), replace(found, left=0)
