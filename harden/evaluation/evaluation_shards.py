"""Evaluation of the data in parts, one for each process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import torch

from harden.data import Batch, Source
from harden.evaluation.batch_evaluation import BatchEvaluator
from harden.evaluation.results.batch_outcome import BatchOutcome
from harden.evaluation.time_limit import OutOfTime
from harden.system.ranks import Ranks

T = TypeVar("T")


def outcomes_of_all(evaluator: BatchEvaluator, source: Source, ranks: Ranks) -> Iterator[BatchOutcome]:
    """Yield the outcomes of all processes in the order of the data, each image in one of them.

    An image's random starts depend on its position in the data, so that its outcome does not depend on the
    number of processes. The witnesses stay in the process that found them, and are not yielded.

    Args:
        evaluator: evaluates a part, without the closing attempts.
        source: the images, in order, the same in all processes.
        ranks: the processes, which all call this.

    Raises:
        OutOfTime: in all processes, where time was up in one.
    """

    def evaluated() -> list[BatchOutcome]:
        parts = (part.to(evaluator.device) for part in own_parts(source, ranks))
        return [replace(evaluator.run(part), found=()) for part in parts]

    for found in found_by_all(evaluated, ranks):
        yield from found


def found_by_all(work: Callable[[], T], ranks: Ranks) -> list[T]:
    """The results of all processes, in their order; time that is up in one ends the work of all.

    Args:
        work: of this process, inside of which none exchanges anything.
        ranks: the processes, which all call this.

    Raises:
        OutOfTime: in all processes.
    """
    own: list[T] = []
    try:
        own.append(work())
    except OutOfTime:
        if not ranks.several:
            raise
    everyone = ranks.every(own)
    if not all(everyone):
        raise OutOfTime
    return [found for (found,) in everyone]


def own_parts(source: Source, ranks: Ranks) -> Iterator[Batch]:
    """The images of this process, at most a batch at a time, with their positions in the data."""
    start, stop = ranks.part(len(source))
    done = 0
    for batch in source.epoch(None):
        first, last = max(start - done, 0), min(stop - done, len(batch))
        if first < last:
            ids = torch.arange(done + first, done + last)
            yield Batch(batch.x[first:last], batch.y[first:last], ids)
        done += len(batch)
