"""Parts of the data: batches without a limit of time, fewer images with one, and a journal of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from harden.data import Batch, Source
from harden.evaluation.batch_evaluation import BatchEvaluator
from harden.evaluation.evaluation_chunks import outcomes
from harden.evaluation.results.batch_outcome import AttemptTotals, BatchOutcome, TrustCounts
from harden.evaluation.results.evaluation_journal import EvaluationJournal
from harden.evaluation.time_limit import OutOfTime, TimeLimit

SIZES = (4, 4, 2)
N = sum(SIZES)


@dataclass
class Clock:
    """A clock that the work moves."""

    now: float = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    fake = SimpleNamespace(monotonic=lambda: found.now)
    monkeypatch.setattr("harden.evaluation.time_limit.time", fake)
    return found


class Batches:
    """Ten images in batches of 4, 4 and 2; the loader's positions are of no use."""

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        assert generator is None
        x = torch.arange(N, dtype=torch.float32).view(N, 1, 1, 1)
        for part in torch.split(torch.arange(N), list(SIZES)):
            yield Batch(x[part], part % 2, torch.full((len(part),), 99))


def outcome_of(batch: Batch, seconds: float = 1.0) -> BatchOutcome:
    none = torch.full_like(batch.y, -1)
    effort = AttemptTotals(len(batch), 0, 1.0, seconds)
    return BatchOutcome(batch.y, batch.y, none, 0 * none, (), (effort,), TrustCounts(), 1.0, seconds)


@dataclass
class Evaluator:
    """In place of a BatchEvaluator: notes its parts, and moves the clock by a second for each image."""

    clock: Clock
    limit: TimeLimit | None = None
    seconds: float = 1.0
    parts: list[list[int]] = field(default_factory=list)
    firsts: list[list[int] | None] = field(default_factory=list)
    resumed: list[tuple[list[int], bool]] = field(default_factory=list)
    threat: Any = field(default_factory=lambda: SimpleNamespace(bounds=(0.0, 1.0)))
    device: str = "cpu"
    given: tuple[Any, ...] = ()

    def run(self, batch: Batch, first: Batch | None = None) -> BatchOutcome:
        self.parts.append(batch.index.tolist())
        self.firsts.append(None if first is None else first.index.tolist())
        assert batch.x.flatten().tolist() == batch.index.tolist()
        for _ in range(len(batch)):
            self.clock.now += self.seconds
            if self.limit is not None:
                self.limit.check()
        return outcome_of(batch, self.seconds * len(batch))

    def resume(self, batch: Batch, outcome: BatchOutcome) -> None:
        self.resumed.append((batch.index.tolist(), self.limit is None or self.limit.is_over()))

    def one_pass(self, batch: Batch) -> tuple[float, int]:
        assert len(batch) == 1
        return 0.001, 2


class Journal:
    """In place of an EvaluationJournal, in memory."""

    def __init__(self) -> None:
        self.kept: dict[int, BatchOutcome] = {}
        self.written: list[tuple[int, list[int], tuple[float, float]]] = []

    def read(self, number: int, batch: Batch) -> BatchOutcome | None:
        return self.kept.get(number)

    def write(self, number: int, batch: Batch, outcome: BatchOutcome, bounds: tuple[float, float]) -> None:
        self.kept[number] = outcome
        self.written.append((number, batch.index.tolist(), bounds))


def parts(evaluator: Evaluator, limit: TimeLimit, journal: Journal | None = None) -> Iterator[BatchOutcome]:
    return outcomes(
        cast(BatchEvaluator, evaluator),
        cast(Source, Batches()),
        cast("EvaluationJournal | None", journal),
        limit,
    )


def sizes(found: list[BatchOutcome]) -> list[int]:
    return [len(each.labels) for each in found]


def labels(found: list[BatchOutcome]) -> Tensor:
    return torch.cat([each.labels for each in found])


def test_without_a_limit_a_part_is_a_batch_at_its_own_position(clock: Clock) -> None:
    evaluator = Evaluator(clock)
    found = list(parts(evaluator, TimeLimit(None)))
    assert evaluator.parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert evaluator.firsts == [None] * 3
    assert labels(found).tolist() == [k % 2 for k in range(N)]


def test_parts_are_evaluated_one_after_the_other_as_they_are_read(clock: Clock) -> None:
    evaluator = Evaluator(clock)
    found = parts(evaluator, TimeLimit(None))
    next(found)
    assert evaluator.parts == [[0, 1, 2, 3]]


def test_with_a_limit_the_parts_are_the_first_images_in_order(clock: Clock) -> None:
    limit = TimeLimit(7 / 60)
    evaluator = Evaluator(clock, limit)
    found = list(parts(evaluator, limit))
    done = sum(sizes(found))
    assert 0 < done < N
    assert labels(found).tolist() == [k % 2 for k in range(done)]
    # The last part was not finished, and is in no result.
    assert sum(map(len, evaluator.parts)) > done
    # The images that are probed come from the first of what is left.
    assert evaluator.firsts[0] is not None
    assert evaluator.firsts[0][0] == 0


def test_a_part_that_takes_too_long_is_tried_with_fewer_images(clock: Clock) -> None:
    limit = TimeLimit(3.5 / 60)
    evaluator = Evaluator(clock, limit)
    first = next(parts(evaluator, limit))
    assert evaluator.parts == [[0, 1, 2, 3], [0]]
    assert len(first.labels) == 1


def test_later_parts_fit_into_the_rest_of_the_time_and_are_kept_as_they_are(clock: Clock) -> None:
    """Of 10 seconds 6 are left after the first four images: 0.3 of them suffice for one image at a time."""
    limit, journal = TimeLimit(10 / 60), Journal()
    evaluator = Evaluator(clock, limit)
    found = list(parts(evaluator, limit, journal))
    assert evaluator.parts == [[0, 1, 2, 3], [4], [5], [6], [7], [8], [9]]
    assert [ids for _, ids, _ in journal.written] == evaluator.parts
    assert sizes(found) == [4, 1, 1, 1, 1, 1, 1]


def test_no_time_at_all_gives_no_part(clock: Clock) -> None:
    limit = TimeLimit(0.5 / 60)
    assert list(parts(Evaluator(clock, limit), limit)) == []


def test_another_limit_is_not_taken_for_this_one(clock: Clock) -> None:
    """A stage of training has a limit too, and its end is no end of the evaluation."""

    class Ended(Evaluator):
        def run(self, batch: Batch, first: Batch | None = None) -> BatchOutcome:
            raise OutOfTime

    for limit in (TimeLimit(None), TimeLimit(10)):
        with pytest.raises(OutOfTime):
            list(parts(Ended(clock), limit))


def test_a_journal_keeps_each_part_under_its_number(clock: Clock) -> None:
    journal = Journal()
    list(parts(Evaluator(clock), TimeLimit(None), journal))
    assert journal.written == [
        (0, [0, 1, 2, 3], (0.0, 1.0)),
        (1, [4, 5, 6, 7], (0.0, 1.0)),
        (2, [8, 9], (0.0, 1.0)),
    ]


def test_what_a_journal_holds_is_not_evaluated_again(clock: Clock) -> None:
    journal = Journal()
    whole = list(parts(Evaluator(clock), TimeLimit(None), journal))
    del journal.kept[2]
    evaluator = Evaluator(clock)
    found = list(parts(evaluator, TimeLimit(None), journal))
    assert evaluator.parts == [[8, 9]]
    assert torch.equal(labels(found), labels(whole))
    # The model is compared on the first part alone.
    assert [ids for ids, _ in evaluator.resumed] == [[0, 1, 2, 3]]


def test_parts_of_batches_are_read_too_and_the_rest_goes_on(clock: Clock) -> None:
    journal = Journal()
    x = torch.zeros(3, 1, 1, 1)
    journal.kept[0] = outcome_of(Batch(x, torch.tensor([0, 1, 0]), torch.arange(3)))
    evaluator = Evaluator(clock)
    found = list(parts(evaluator, TimeLimit(None), journal))
    assert sizes(found) == [3, 1, 4, 2]
    assert evaluator.parts == [[3], [4, 5, 6, 7], [8, 9]]
    assert evaluator.resumed == [([0, 1, 2], True)]


def test_what_was_finished_before_is_read_whatever_the_time(clock: Clock) -> None:
    journal = Journal()
    list(parts(Evaluator(clock), TimeLimit(None), journal))
    limit = TimeLimit(1 / 60)
    clock.now += 1000
    assert limit.is_over()
    evaluator = Evaluator(clock, limit)
    assert sizes(list(parts(evaluator, limit, journal))) == [4, 4, 2]
    # While the model is compared the limit is suspended, and it is in force afterwards.
    assert evaluator.resumed == [([0, 1, 2, 3], False)]
    assert limit.is_over()


def test_a_part_that_was_not_finished_is_not_kept(clock: Clock) -> None:
    limit, journal = TimeLimit(0.5 / 60), Journal()
    with suppress(OutOfTime):
        list(parts(Evaluator(clock, limit), limit, journal))
    assert journal.written == []
