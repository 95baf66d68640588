"""Robust accuracy: the worst case over attempts on each example, batch by batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from harden.data import from_loader
from harden.errors import InputError
from harden.evaluation.attempt import Attempt
from harden.evaluation.batch_evaluation import BatchEvaluator
from harden.evaluation.evaluation_chunks import outcomes
from harden.evaluation.evaluation_shards import outcomes_of_all
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.judge_outputs import check_model, check_threat
from harden.evaluation.progress import EvaluationProgress
from harden.evaluation.results.aggregate import EvaluationTotals
from harden.evaluation.results.batch_outcome import BatchOutcome
from harden.evaluation.results.evaluation_journal import EvaluationJournal
from harden.evaluation.results.result import Evaluation
from harden.evaluation.suite_definitions import standard
from harden.evaluation.time_limit import TimeLimit
from harden.evaluation.trust.closing_attempts import RESERVED
from harden.losses import Classify
from harden.models import Classifier, ordinary, plain, untouched
from harden.models.pass_count import interruptible
from harden.system.folder_lock import held_folder
from harden.system.ranks import ALONE, Ranks
from harden.threats import Threat

OnBatch = Callable[[EvaluationProgress], None]
_log = logging.getLogger("harden")


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

    The result of an attack is projected again, checked to lie in ball and box, and classified by the judge.
    Each attempt runs on the examples that no earlier one broke. Random starts depend on seed and position in
    the data alone. The model is left unchanged, in every flag and in all state of it and its hooks. Inside,
    gradients are enabled and autocast is off, in float32, whatever the caller has set.

    Args:
        model: gives the gradients.
        data: Examples, a tuple (x, y) or a DataLoader; see `harden.data.from_loader`.
        threat: the threat model.
        attempts: the suite `standard` of `harden.evaluation` by default; `quick`, `thorough` and `pgd_suite`
            make others. A single step, noise and twice the steps close every suite, as checks.
        judge: decides every prediction, images to logits; the model itself by default, and the exported
            file's session where the claim is about the file.
        seed: of the random starts.
        batch_size: images at a time, where data brings no batches of its own.
        minutes: time limit; the result is then of the first images, those that are finished by then, and
            says that it is not complete. An image is finished when no attempt on it is left.
        journal: a folder, empty or missing, in which each finished batch is kept; with that of an
            interrupted evaluation, it is resumed after its last batch, with the same result. It can be
            deleted afterwards.
        on_batch: called after every batch with the `EvaluationProgress` so far.

    Raises:
        InputError: the data are empty or not pixels in [0, 1]; labels exceed the classes; no attempts, or two
            of one name; no Classifier, no threat; time did not suffice for one image; the journal is another
            evaluation's.
    """
    check_model(model)
    check_threat(threat)
    model = ordinary(model)
    attempts, pace = _checked(standard() if attempts is None else tuple(attempts)), TimeLimit(minutes)
    gradient_source = GradientSource(
        model, model.logits if judge is None else pace.limit_judge(judge, model.logits)
    )
    search = BatchEvaluator(gradient_source, threat, attempts, seed, pace.is_over)
    # Locked before it is opened: two that begin at once would both find it empty.
    place = None if journal is None else Path(journal)
    with untouched(model), nullcontext() if place is None or place.is_file() else held_folder(place):
        kept = None if place is None else EvaluationJournal.opened(place, search.identity(), model)
        source = from_loader(data, batch_size)
        parts = outcomes(search, source, kept, pace)
        tally, left = _tallied(parts, len(source), search.closed, pace, on_batch)
    if not tally.n:
        raise _nothing(minutes)
    found = tally.result(threat, search.attempts, gradient_source.output, left)
    if found.unanswered:
        _log.warning(
            "%d of %d images have a logit that is NaN or infinite: each counts as misclassified",
            found.unanswered,
            len(found.labels),
        )
    return found


@plain()
def evaluate_unchecked(
    model: Classifier,
    data: object,
    threat: Threat,
    attempts: Sequence[Attempt],
    *,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
    on_batch: OnBatch | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """As `evaluate`, without the trust checks that cost passes: for selection, not for reports.

    Several processes that call it evaluate a part of the images each, and get the same result, without
    witnesses.
    """
    check_model(model)
    check_threat(threat)
    model = ordinary(model)
    gradient_source = GradientSource(model, model.logits if judge is None else judge)
    search = BatchEvaluator(gradient_source, threat, _checked(tuple(attempts)), seed, closed=False)
    with untouched(model):
        source, pace = from_loader(data, batch_size), TimeLimit(None)
        alone = not ranks.several
        parts = outcomes(search, source, None, pace) if alone else outcomes_of_all(search, source, ranks)
        tally, left = _tallied(parts, len(source), search.closed, pace, on_batch)
    if not tally.n:
        raise _nothing(None)
    return tally.result(threat, search.attempts, gradient_source.output, left)


def _tallied(
    parts: Iterator[BatchOutcome], n: int, closed: bool, pace: TimeLimit, on_batch: OnBatch | None
) -> tuple[EvaluationTotals, int]:
    """Totals over all parts of n examples that were finished in time, and the number of examples left."""
    tally = EvaluationTotals(closed=closed)
    with interruptible(pace.check) if pace.limited else nullcontext():
        for outcome in parts:
            tally.add(outcome)
            if on_batch is not None:
                share = tally.unbroken / tally.n
                on_batch(EvaluationProgress(tally.n, n, share, tally.passes, tally.seconds))
    return tally, n - tally.n


def _checked(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    if not attempts:
        raise InputError("no attempts", "at least one attack", "write attempts=harden.evaluation.standard()")
    names = [attempt.name for attempt in attempts]
    twice = sorted({name for name in names if names.count(name) > 1 or name in RESERVED})
    if twice:
        raise InputError(
            f"attempts named {', '.join(twice)}, twice or as a closing attempt is",
            "a name of its own for each attempt",
            f"rename them; {' and '.join(RESERVED)} are run in any case",
        )
    return attempts


def _nothing(minutes: float | None) -> InputError:
    if minutes is None:
        return InputError("no examples", "at least one batch", "check the loader's data set and drop_last")
    return InputError(
        f"no image that was finished in {minutes:g} minutes",
        "time for one image at least",
        "allow more minutes, or choose a faster suite",
    )
