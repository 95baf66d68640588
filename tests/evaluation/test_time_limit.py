"""A limit of time is kept, on a clock that the network moves; the first images are the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation import Attempt, Evaluation, evaluate, pgd_suite
from harden.evaluation.time_limit import OutOfTime, TimeLimit
from harden.losses import LossFunction
from harden.models import Classifier
from harden.models.input_layout import GradientFreeNetwork
from harden.models.pass_count import count, interruptible, uncounted
from harden.threats import Linf, Threat
from tests.clocks import ticking

pytestmark = pytest.mark.usefixtures("rng_untouched")

SUITE, THREAT, N = pgd_suite(steps=4, restarts=1), Linf("0.02"), 24
Data = tuple[Tensor, Tensor]


@dataclass
class Time:
    """A clock that advances only when it is set."""

    now: float = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    fake = SimpleNamespace(monotonic=lambda: time.now, perf_counter=lambda: time.now)
    for module in ("time_limit", "batch_evaluation"):
        monkeypatch.setattr(f"harden.evaluation.{module}.time", fake)
    return time


class Slow(nn.Module):
    """A linear network that takes a second for each image of a forward."""

    def __init__(self, clock: Time) -> None:
        super().__init__()
        self.head, self.ticks = nn.Linear(16, 3, device="meta").to_empty(device="cpu"), ticking(clock)
        with torch.no_grad():
            weight = torch.linspace(-1, 1, 48)
            self.head.weight.copy_((weight * 37).sin().view(3, 16))
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        self.ticks.send(len(x))
        logits: Tensor = self.head(x.flatten(1))
        return logits


@pytest.fixture
def model(clock: Time) -> Classifier:
    return Classifier(Slow(clock))


@pytest.fixture
def data(model: Classifier) -> Data:
    x = torch.rand(N, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return x, model.logits(x).argmax(1)


def timed(clock: Time, model: Classifier, data: Data, seconds: float) -> tuple[Evaluation, float]:
    began = clock.now
    found = evaluate(model, data, THREAT, SUITE, minutes=seconds / 60)
    return found, clock.now - began


@pytest.fixture
def whole(clock: Time, model: Classifier, data: Data) -> tuple[Evaluation, float]:
    began = clock.now
    return evaluate(model, data, THREAT, SUITE), clock.now - began


@pytest.mark.parametrize("share", [0.03, 0.1, 0.2, 0.4])
def test_it_ends_in_time_with_the_first_images(
    clock: Time, model: Classifier, data: Data, whole: tuple[Evaluation, float], share: float
) -> None:
    every, needed = whole
    limit = share * needed
    found, taken = timed(clock, model, data, limit)
    n = len(found.labels)
    assert 0 < n < N
    assert n + found.left == N
    assert not found.complete
    assert taken <= 1.1 * limit
    # What time was given for was used: it ended because time was up.
    assert taken >= 0.9 * limit
    for name in ("labels", "predictions", "broken", "broken_by", "broken_at"):
        assert torch.equal(getattr(found, name), getattr(every, name)[:n]), name
    assert found.robust.n == n
    assert n >= (share - 0.1) * N / 2


def test_with_time_enough_it_is_what_it_is_without_a_limit(
    clock: Time, model: Classifier, data: Data, whole: tuple[Evaluation, float]
) -> None:
    every, needed = whole
    found, _ = timed(clock, model, data, 10 * needed)
    assert found.complete
    assert torch.equal(found.witnesses.witness, every.witnesses.witness)
    assert torch.equal(found.broken_at, every.broken_at)
    assert found.checks == every.checks
    assert found.passes == every.passes


def test_one_image_is_a_result(clock: Time, model: Classifier, data: Data) -> None:
    """The least time in which something is found is about that of one image alone."""
    began = clock.now
    evaluate(model, (data[0][:1], data[1][:1]), THREAT, SUITE)
    alone = clock.now - began
    found, taken = timed(clock, model, data, 1.2 * alone)
    assert len(found.labels) >= 1
    assert taken <= 1.1 * 1.2 * alone
    began = clock.now
    with pytest.raises(InputError, match="time for one image at least"):
        evaluate(model, data, THREAT, SUITE, minutes=0.2 * alone / 60)
    assert clock.now - began <= 1.1 * 0.2 * alone + 1


def idle(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    """Queries a hundred times, which no attribute shows, and catches every exception."""
    for _ in range(100):
        try:
            loss(x)
        except Exception:  # what a user's attack may do
            continue
    return x


def test_an_attack_whose_cost_is_not_known_does_not_take_all_time(
    clock: Time, model: Classifier, data: Data
) -> None:
    began = clock.now
    found = evaluate(model, data, THREAT, [Attempt("idle", idle)], minutes=2500 / 60)
    assert 0 < len(found.labels) < N
    assert clock.now - began <= 1.1 * 2500


def test_a_judge_without_gradients_stops_too(clock: Time, model: Classifier, data: Data) -> None:
    def judge(x: Tensor) -> Tensor:
        with torch.no_grad():
            return model.logits(x)

    from harden.attacks import Square
    from harden.losses import Margin

    attempt = Attempt("square", Square(queries=300), Margin, black_box=True)
    began = clock.now
    found = evaluate(
        Classifier(GradientFreeNetwork(judge)), data, THREAT, [attempt], judge=judge, minutes=2000 / 60
    )
    assert 0 < len(found.labels) < N
    assert 0.9 * 2000 <= clock.now - began <= 1.1 * 2000


def test_a_journal_of_parts_goes_on_to_the_whole(
    clock: Time, model: Classifier, data: Data, whole: tuple[Evaluation, float], tmp_path: Path
) -> None:
    every, needed = whole
    first = evaluate(model, data, THREAT, SUITE, minutes=0.3 * needed / 60, journal=tmp_path / "kept")
    assert not first.complete
    began = clock.now
    found = evaluate(model, data, THREAT, SUITE, journal=tmp_path / "kept")
    assert clock.now - began < needed
    assert found.complete
    assert torch.equal(found.broken_by, every.broken_by)
    assert torch.equal(found.witnesses.witness, every.witnesses.witness)


def test_where_a_first_part_fails_fewer_images_are_tried(clock: Time) -> None:
    pace = TimeLimit(minutes=10)
    sizes = []
    for seconds in (301.0, 151.0, 76.0):
        sizes.append(pace.size(64))
        clock.now += seconds
        assert pace.is_over()
        assert not pace.given_up(sizes[-1])
    assert sizes == [64, 16, 4]
    assert pace.size(64) == 1
    clock.now += 60
    assert not pace.is_over()  # the last chance is all that is left
    clock.now += 60
    assert pace.given_up(1)


def test_a_check_interrupts_forwards_but_not_what_is_uncounted() -> None:
    def check() -> None:
        raise OutOfTime

    with interruptible(check):
        with uncounted():
            count(1)
        with pytest.raises(OutOfTime):
            count(1)
    count(1)
