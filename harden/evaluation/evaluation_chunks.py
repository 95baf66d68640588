"""Iteration over the data in parts: batches, or fewer images at a time under a time limit."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from harden.data import Batch, Source
from harden.evaluation.batch_evaluation import BatchEvaluator
from harden.evaluation.results.batch_outcome import BatchOutcome
from harden.evaluation.results.evaluation_journal import EvaluationJournal
from harden.evaluation.suite_cost import passes_at_most
from harden.evaluation.time_limit import OutOfTime, TimeLimit
from harden.evaluation.trust.probes import PASSES


def outcomes(
    evaluator: BatchEvaluator, source: Source, journal: EvaluationJournal | None, limit: TimeLimit
) -> Iterator[BatchOutcome]:
    """Yield the outcome of one part of the data after the other, until the end or until time is up.

    Without a time limit a part is a batch. A part that was not finished in time is dropped, so the parts are
    the first images of the data, and each image in them went through every attempt.

    Args:
        evaluator: evaluates a part.
        source: the images, in order.
        journal: keeps each finished part, and returns those that were finished before.
        limit: the time limit.
    """
    done = number = 0
    for batch in source.epoch(None):
        # An example's id is its position, whatever ids the loader gives: so it is the same in any loader.
        ids = torch.arange(done, done + len(batch))
        rest = Batch(batch.x, batch.y, ids).to(evaluator.device)
        while len(rest):
            outcome = _from_journal(evaluator, rest, (journal, number), limit) or _evaluated(
                evaluator, rest, (journal, number), limit
            )
            if outcome is None:
                return
            done, number = done + len(outcome.labels), number + 1
            rest = _part(rest, len(outcome.labels), None)
            yield outcome


def _from_journal(
    evaluator: BatchEvaluator, rest: Batch, place: tuple[EvaluationJournal | None, int], limit: TimeLimit
) -> BatchOutcome | None:
    """The outcome of the first of these images that the journal holds, if any."""
    journal, number = place
    outcome = None if journal is None else journal.read(number, rest)
    if outcome is not None and number == 0:
        with limit.paused():
            evaluator.resume(_part(rest, 0, len(outcome.labels)), outcome)
    return outcome


def _evaluated(
    evaluator: BatchEvaluator, rest: Batch, place: tuple[EvaluationJournal | None, int], limit: TimeLimit
) -> BatchOutcome | None:
    """The outcome of as many of the first of these images as fit into the time; None if none does."""
    journal, number = place
    try:
        if limit.limited and number == 0:
            limit.expect(*_seconds_bound(evaluator, rest))
        outcome = _within_limit(evaluator, rest, limit)
    except OutOfTime:
        if limit.left > 0:  # the limit is another one, that of a stage of training
            raise
        return None
    if journal is not None:
        journal.write(number, _part(rest, 0, len(outcome.labels)), outcome, evaluator.threat.bounds)
    return outcome


def _within_limit(evaluator: BatchEvaluator, rest: Batch, limit: TimeLimit) -> BatchOutcome:
    """Evaluate the first of these images, fewer where their time was up.

    Raises:
        OutOfTime: all time is, or that for a single image.
    """
    first = _part(rest, 0, limit.probed) if limit.limited else None
    while True:
        part = _part(rest, 0, limit.size(len(rest)))
        try:
            outcome = evaluator.run(part, first)
        except OutOfTime:
            if not limit.is_over() or limit.given_up(len(part)):
                raise
        else:
            limit.finished(len(part), sum(effort.seconds for effort in outcome.efforts))
            return outcome


def _seconds_bound(evaluator: BatchEvaluator, batch: Batch) -> tuple[float, float]:
    """Seconds that an unbroken image takes to probe and to attack, estimated from one image."""
    seconds, classes = evaluator.one_pass(_part(batch, 0, 1))
    return seconds * PASSES, seconds * passes_at_most(evaluator.given, classes)


def _part(batch: Batch, start: int, end: int | None) -> Batch:
    return Batch(batch.x[start:end], batch.y[start:end], batch.index[start:end])
