"""Goes through the data part by part: batch by batch, or fewer images at a time where time is limited."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from harden.data import Batch, Source
from harden.evaluation.batch_evaluation import BatchEvaluator
from harden.evaluation.results.evaluation_journal import EvaluationJournal
from harden.evaluation.results.partial_result import BatchOutcome
from harden.evaluation.suite_cost import passes_at_most
from harden.evaluation.time_limit import OutOfTime, TimeLimit
from harden.evaluation.trust.probes import PASSES


def outcomes(
    search: BatchEvaluator, source: Source, kept: EvaluationJournal | None, pace: TimeLimit
) -> Iterator[BatchOutcome]:
    """What was found in one part of the data after the other, until the end or until time is up.

    Without a limit of time a part is a batch. What was under way when time was up is in no part: so the
    parts are the first images of the data, and each image in them went through every attempt.

    Args:
        search: evaluates a part.
        source: the images, in order.
        kept: where each part is kept, and is read from where it was finished before.
        pace: the time that there is.
    """
    done = number = 0
    for batch in source.epoch(None):
        # An example's id is its position, whatever ids the loader gives: so it is the same in any loader.
        ids = torch.arange(done, done + len(batch))
        rest = Batch(batch.x, batch.y, ids).to(search.device)
        while len(rest):
            outcome = _known(search, rest, (kept, number), pace) or _found(search, rest, (kept, number), pace)
            if outcome is None:
                return
            done, number = done + len(outcome.labels), number + 1
            rest = _part(rest, len(outcome.labels), None)
            yield outcome


def _known(
    search: BatchEvaluator, rest: Batch, place: tuple[EvaluationJournal | None, int], pace: TimeLimit
) -> BatchOutcome | None:
    """What was found before in the first of these images."""
    kept, number = place
    outcome = None if kept is None else kept.read(number, rest)
    if outcome is not None and number == 0:
        with pace.paused():
            search.go_on(_part(rest, 0, len(outcome.labels)), outcome)
    return outcome


def _found(
    search: BatchEvaluator, rest: Batch, place: tuple[EvaluationJournal | None, int], pace: TimeLimit
) -> BatchOutcome | None:
    """What is found in as many of the first of these images as there is time for; None if for none."""
    kept, number = place
    try:
        if pace.limited and number == 0:
            pace.expect(*_seconds_at_most(search, rest))
        outcome = _in_time(search, rest, pace)
    except OutOfTime:
        if pace.left > 0:  # another's time is up, that of a stage of training
            raise
        return None
    if kept is not None:
        kept.write(number, _part(rest, 0, len(outcome.labels)), outcome, search.threat.bounds)
    return outcome


def _in_time(search: BatchEvaluator, rest: Batch, pace: TimeLimit) -> BatchOutcome:
    """Evaluate the first of these images, fewer where their time was up.

    Raises:
        OutOfTime: all time is, or that for a single image.
    """
    first = _part(rest, 0, pace.probed) if pace.limited else None
    while True:
        part = _part(rest, 0, pace.size(len(rest)))
        try:
            outcome = search.run(part, first)
        except OutOfTime:
            if not pace.is_over() or pace.given_up(len(part)):
                raise
        else:
            pace.finished(len(part), sum(effort.seconds for effort in outcome.efforts))
            return outcome


def _seconds_at_most(search: BatchEvaluator, batch: Batch) -> tuple[float, float]:
    """What an image costs where nothing breaks it: probed, and attacked. A first guess, from one image."""
    seconds, classes = search.one_pass(_part(batch, 0, 1))
    return seconds * PASSES, seconds * passes_at_most(search.given, classes)


def _part(batch: Batch, start: int, end: int | None) -> Batch:
    return Batch(batch.x[start:end], batch.y[start:end], batch.index[start:end])
