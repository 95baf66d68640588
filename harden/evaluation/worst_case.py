"""Robust accuracy: the worst case over attempts on each example, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import final

import torch

from harden.data import Batch, Source, from_loader
from harden.errors import InputError
from harden.evaluation.attempts import Attempt
from harden.evaluation.batches import BatchSearch, OutOfTime
from harden.evaluation.closing import RESERVED
from harden.evaluation.journal import Journal
from harden.evaluation.judging import check_model, check_threat
from harden.evaluation.outcome import Evaluation
from harden.evaluation.progress import Standing
from harden.evaluation.steering import Steering
from harden.evaluation.suites import pgd_suite
from harden.evaluation.tally import Tally
from harden.locking import locked
from harden.losses import Classify
from harden.models import Classifier, frozen, plain
from harden.threats import Threat

OnBatch = Callable[[Standing], None]


@plain()
def evaluate(
    model: Classifier,
    data: object,
    threat: Threat,
    attempts: Sequence[Attempt] | None = None,
    *,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
    minutes: float | None = None,
    journal: str | Path | None = None,
    on_batch: OnBatch | None = None,
) -> Evaluation:
    """Measure clean accuracy and the worst case over attempts, per example.

    An attack is not believed: its result is projected again, checked to lie in ball and box, and classified
    by the judge. Each attempt runs on the examples that no earlier one broke. Random starts depend on seed
    and position in the data alone. The model is left as it was, in every flag; gradients, float32 and no
    autocast hold inside, whatever the caller has switched on.

    Args:
        model: gives the gradients.
        data: Examples, a tuple (x, y) or a DataLoader; see `harden.data.from_loader`.
        threat: the threat model.
        attempts: PGD-50 on cross-entropy and on the margin, 3 restarts each, by default; `quick`, `standard`
            and `thorough` of `harden.evaluation` make suites. A single step and noise close every suite, as
            checks.
        judge: decides every prediction, images to logits; the model itself by default, and the exported
            file's session where the claim is about the file.
        seed: of the random starts.
        batch_size: images at a time, where data brings no batches of its own.
        minutes: how long it may take; the batches that are finished by then make the result, which says that
            it is not complete.
        journal: a folder, empty or missing, in which each finished batch is kept; with the one of an
            evaluation that was interrupted, goes on after its last batch, to the same result. It can be
            deleted afterwards.
        on_batch: called after every batch with the `Standing` so far.

    Raises:
        InputError: the data are empty or not pixels in [0, 1]; labels exceed the classes; no attempts, or two
            of one name; no Classifier, no threat; time did not suffice for one batch; the journal is another
            evaluation's.
    """
    check_model(model)
    check_threat(threat)
    attempts, clock = _checked(pgd_suite() if attempts is None else tuple(attempts)), _Clock(minutes)
    steering = Steering(model, model.logits if judge is None else judge)
    search = BatchSearch(steering, threat, attempts, seed, clock)
    kept = None if journal is None else Journal.opened(Path(journal), search.identity(), model)
    with frozen(model), nullcontext() if journal is None else locked(Path(journal)):
        tally, left = _tallied(search, from_loader(data, batch_size), model, kept, on_batch)
    if not tally.n:
        raise _nothing(minutes)
    return tally.result(threat, search.attempts, steering.output, left)


@plain()
def unchecked(
    model: Classifier,
    data: object,
    threat: Threat,
    attempts: Sequence[Attempt],
    *,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
    on_batch: OnBatch | None = None,
) -> Evaluation:
    """As `evaluate`, without the trust checks that cost passes: to choose by, not to report."""
    check_model(model)
    check_threat(threat)
    steering = Steering(model, model.logits if judge is None else judge)
    search = BatchSearch(steering, threat, _checked(tuple(attempts)), seed, closed=False)
    with frozen(model):
        tally, left = _tallied(search, from_loader(data, batch_size), model, None, on_batch)
    if not tally.n:
        raise _nothing(None)
    return tally.result(threat, search.attempts, steering.output, left)


def _tallied(
    search: BatchSearch,
    source: Source,
    model: Classifier,
    kept: Journal | None = None,
    on_batch: OnBatch | None = None,
) -> tuple[Tally, int]:
    """All batches, or those that were finished in time, and how many examples are left."""
    tally = Tally(closed=search.closed)
    for number, batch in enumerate(source.epoch(None)):
        # An example's id is its position, whatever ids the loader gives: so it is the same in any loader.
        ids = torch.arange(tally.n, tally.n + len(batch))
        placed = Batch(batch.x, batch.y, ids).to(model.device)
        outcome = None if kept is None else kept.read(number, placed)
        if outcome is None:
            try:
                outcome = search.run(placed)
            except OutOfTime:
                break
            if kept is not None:
                kept.write(number, placed, outcome, search.threat.bounds)
        elif number == 0:
            search.go_on(placed, outcome)
        tally.add(outcome)
        if on_batch is not None:
            share = tally.standing / tally.n
            on_batch(Standing(tally.n, len(source), share, tally.passes, tally.seconds))
    return tally, len(source) - tally.n


@final
class _Clock:
    """Whether so many minutes are over."""

    def __init__(self, minutes: float | None) -> None:
        if minutes is not None and not minutes > 0:
            raise InputError(f"{minutes} minutes", "a positive number", "write minutes=5")
        self._began, self._limit = time.perf_counter(), minutes

    def __call__(self) -> bool:
        return self._limit is not None and time.perf_counter() - self._began > 60 * self._limit


def _checked(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    if not attempts:
        raise InputError("no attempts", "at least one attack", "write attempts=harden.evaluation.pgd_suite()")
    names = [attempt.name for attempt in attempts]
    twice = sorted({name for name in names if names.count(name) > 1 or name in RESERVED})
    if twice:
        raise InputError(
            f"attempts named {', '.join(twice)}, twice or as the closing checks are",
            "a name of its own for each attempt",
            f"rename them; {' and '.join(RESERVED)} are run in any case",
        )
    return attempts


def _nothing(minutes: float | None) -> InputError:
    if minutes is None:
        return InputError("no examples", "at least one batch", "check the loader's data set and drop_last")
    return InputError(
        f"no batch that was finished in {minutes:g} minutes",
        "time for one batch at least",
        "give it more minutes, smaller batches (batch_size), or a quicker suite",
    )
