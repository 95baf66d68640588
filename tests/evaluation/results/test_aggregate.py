"""Running totals of an evaluation against the counts of all its batches together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.attacks import PGD
from harden.evaluation import Attempt, TrustCheck
from harden.evaluation.probability_outputs import OutputKind
from harden.evaluation.results.aggregate import EvaluationTotals, records
from harden.evaluation.results.batch_outcome import AttemptTotals, BatchOutcome, TrustCounts
from harden.threats import Linf

ATTEMPTS = (Attempt("one", PGD()), Attempt("two", PGD()))


def outcome(labels: list[int], predictions: list[int], by: list[int], **signs: int) -> BatchOutcome:
    """A batch whose attempts break what `by` says."""
    broken = [by.count(place) for place in range(2)]
    right = sum(label == prediction for label, prediction in zip(labels, predictions, strict=True))
    attempted = (right, right - broken[0])
    return BatchOutcome(
        labels=torch.tensor(labels),
        predictions=torch.tensor(predictions),
        broken_by=torch.tensor(by),
        broken_at=torch.tensor([3 if place >= 0 else 0 for place in by]),
        found=(),
        efforts=tuple(AttemptTotals(n, count, 2.0, 0.5) for n, count in zip(attempted, broken, strict=True)),
        signs=TrustCounts(**signs),
        passes=10.0,
        seconds=1.0,
    )


FIRST = outcome([0, 1, 2, 1], [0, 1, 2, 0], [-1, 0, 1, -1], zero_gradients=1, gradients=100)
SECOND = outcome([2, 2], [2, 2], [1, -1], outside=1, not_finite=7, gradients=100)


def test_the_result_is_that_of_all_batches_in_their_order() -> None:
    totals = EvaluationTotals(closed=False)
    for batch in (FIRST, SECOND):
        totals.add(batch)
    assert (totals.n, totals.unbroken, totals.passes, totals.seconds) == (6, 2, 20.0, 2.0)
    found = totals.result(Linf("1/10"), ATTEMPTS, OutputKind.LOGITS, left=4)
    columns: list[tuple[Tensor, list[int]]] = [
        (found.labels, [0, 1, 2, 1, 2, 2]),
        (found.predictions, [0, 1, 2, 0, 2, 2]),
        (found.broken_by, [-1, 0, 1, -1, 1, -1]),
        (found.broken_at, [0, 3, 3, 0, 3, 0]),
    ]
    assert all(column.tolist() == expected for column, expected in columns)
    assert found.broken.tolist() == [False, True, True, False, True, False]
    assert (found.clean.count, found.robust.count, found.left, found.complete) == (5, 2, 4, False)
    assert [(one.attempted, one.broken, one.robust.count) for one in found.attempts] == [(5, 1, 4), (4, 2, 2)]
    assert [(one.passes, one.seconds) for one in found.attempts] == [(4.0, 1.0)] * 2
    values = {check.name: check.value for check in found.checks}
    assert values == {
        "ball and box": 1,
        "zero gradients": pytest.approx(1 / 5),
        "finite gradients": pytest.approx(7 / 200),
    }


def test_checks_of_a_batch_are_kept_and_closing_attempts_are_compared() -> None:
    own = TrustCheck("mine", 0.0, 1.0, "a share", "nothing")
    totals = EvaluationTotals()
    fields = {name: getattr(FIRST, name) for name in BatchOutcome.__dataclass_fields__}
    totals.add(BatchOutcome(**{**fields, "checks": (own,)}))
    names = [check.name for check in totals.result(Linf(1), ATTEMPTS, OutputKind.LOGITS, 0).checks]
    assert names[-1] == "mine"
    assert {"one step beats many", "independent attacks"} <= set(names)


def test_accuracy_falls_by_what_each_attempt_broke() -> None:
    found = records(ATTEMPTS, [AttemptTotals(9, 4), AttemptTotals(5, 5)], 9, 10)
    assert [(one.name, one.robust.count, one.robust.n) for one in found] == [("one", 5, 10), ("two", 0, 10)]
