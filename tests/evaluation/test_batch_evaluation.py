"""One batch: attempts in their order on what is unbroken, verdicts, witnesses, costs, and the refusals."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from harden.attacks import FGSM, PGD, RandomNoise, Square
from harden.attacks.engine.success_steps import current_record
from harden.data import Batch
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation import Attempt, pgd_suite
from harden.evaluation.batch_evaluation import BatchEvaluator
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.results.batch_outcome import BatchOutcome
from harden.evaluation.time_limit import OutOfTime
from harden.evaluation.trust.closing_attempts import NOISE, ONE_STEP, TWICE
from harden.evaluation.trust.probes import probe_checks
from harden.losses import Classify, LossFunction, Margin
from harden.models import Classifier
from harden.models.input_layout import GradientFreeNetwork
from harden.threats import L2, Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREAT = Linf("1/8")
PGD_5 = Attempt("pgd", PGD(5), Margin)


def grey(*values: float, first: int = 0) -> Batch:
    x = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    return Batch(x, (x.flatten(1).mean(1) > 0.5).long(), first + torch.arange(len(values)))


def evaluator(
    model: Classifier,
    *attempts: Attempt,
    judge: Classify | None = None,
    threat: Threat = THREAT,
    closed: bool = False,
) -> BatchEvaluator:
    source = GradientSource(model, judge or model.logits)
    return BatchEvaluator(source, threat, attempts or (PGD_5,), 3, closed=closed)


def to(grey: float, *, at: int | None = None) -> Attempt:
    """An attempt that turns images into one grey: the image at one position alone, or all."""

    def attack(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        chosen = torch.ones_like(draws.ids, dtype=torch.bool) if at is None else draws.ids == at
        return torch.where(chosen.view(-1, 1, 1, 1), torch.full_like(x, grey), x)

    return Attempt(f"to {grey} at {at}", attack, Margin)


def verdicts(outcome: BatchOutcome) -> list[int]:
    return outcome.broken_by.tolist()


def test_each_attempt_gets_what_the_ones_before_it_left(line: Classifier) -> None:
    """Of 0.2 0.45 0.48 0.55, within 1/8, all but the first can be broken; the last is wrong to begin with."""
    batch = grey(0.2, 0.45, 0.48, 0.55, 0.9)
    batch = Batch(batch.x, torch.tensor([0, 0, 0, 1, 0]), batch.index)
    found = evaluator(line, to(0.9, at=2), to(0.9), to(0.1)).run(batch)
    assert found.labels.tolist() == [0, 0, 0, 1, 0]
    assert found.predictions.tolist() == [0, 0, 0, 1, 1]
    assert verdicts(found) == [-1, 1, 0, 2, -1]
    assert [(each.attempted, each.broken) for each in found.efforts] == [(4, 1), (3, 1), (2, 1)]
    assert found.signs.outside == 0
    assert found.checks == ()


def test_witnesses_are_what_the_judge_gets_wrong_inside_the_ball(line: Classifier) -> None:
    batch = grey(0.2, 0.45, 0.55, first=10)
    found = evaluator(line, to(0.9), to(0.1)).run(batch)
    first, second = found.found
    assert (first.index.tolist(), second.index.tolist()) == ([11], [12])
    assert (first.label.tolist(), first.prediction.tolist()) == ([0], [1])
    assert (second.label.tolist(), second.prediction.tolist()) == ([1], [0])
    assert torch.equal(first.original, batch.x[1:2])
    for each in found.found:
        assert bool(THREAT.contains(each.witness, each.original).all())
        assert torch.equal(line.logits(each.witness).argmax(1), each.prediction)


def test_an_images_result_does_not_depend_on_its_batch(line: Classifier) -> None:
    values = torch.linspace(0.3, 0.7, 12).tolist()
    attempts = (Attempt("noise", RandomNoise(2), Margin), Attempt("square", Square(queries=3), Margin))
    whole = evaluator(line, *attempts).run(grey(*values))
    one, other = (
        evaluator(line, *attempts).run(grey(*part, first=first))
        for part, first in ((values[:5], 0), (values[5:], 5))
    )
    assert 0 < int((whole.broken_by >= 0).sum()) < 12
    for name in ("labels", "predictions", "broken_by", "broken_at"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(one, name), getattr(other, name)]))


def test_the_step_that_broke_an_image_is_recorded_of_broken_images_alone(line: Classifier) -> None:
    def noting(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        record = current_record(len(x))
        assert record is not None
        record.note(torch.arange(len(x)), 7)
        return x + 0.125

    found = evaluator(line, Attempt("noting", noting, Margin)).run(grey(0.2, 0.47, 0.9))
    assert verdicts(found) == [-1, 0, -1]
    assert found.broken_at.tolist() == [0, 7, 0]


def test_passes_are_counted_for_each_attempt_and_in_all(line: Classifier) -> None:
    found = evaluator(line, Attempt("pgd", PGD(2, random_start=False, keep_best=False), Margin)).run(
        grey(0.1, 0.9)
    )
    # Two steps of a forward and backward for each of two images; a forward of the judge is 1/3.
    assert found.efforts[0].passes == pytest.approx(2 * 2 + 2 / 3)
    assert found.passes > found.efforts[0].passes


def test_a_threat_that_an_attack_does_not_support_leaves_it_out(
    line: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    square = Attempt("square", Square(queries=3), Margin)
    with caplog.at_level(logging.WARNING, "harden"):
        found = evaluator(line, PGD_5, _Only(square), threat=L2("1/8"))
    assert [each.name for each in found.given] == ["pgd"]
    assert caplog.messages == ['only linf is left out: it does not support L2("1/8")']


def _Only(attempt: Attempt) -> Attempt:
    class OnlyLinf:
        norms = ("linf",)

        def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
            return attempt.attack(loss, x, threat, draws)

    return Attempt("only linf", OnlyLinf(), Margin)


def test_pixels_outside_the_unit_are_refused_and_a_narrower_box_clips(line: Classifier) -> None:
    batch = grey(0.45, 0.9)
    with pytest.raises(InputError, match=r"max 9; expected pixels in \[0, 1\]; divide by 255"):
        evaluator(line).run(Batch(10 * batch.x, batch.y, batch.index))
    narrow = evaluator(line, to(0.4), threat=Linf("1/8", bounds=(0.0, 0.6)))
    found = narrow.run(batch)
    # 0.9 became 0.6, from where 0.475 is reached.
    assert verdicts(found) == [-1, 0]
    torch.testing.assert_close(found.found[0].original, torch.full((1, 1, 2, 2), 0.6))


def test_images_of_float64_are_evaluated_in_float32(line: Classifier) -> None:
    batch = grey(0.45)
    found = evaluator(line, to(0.9)).run(Batch(batch.x.double(), batch.y, batch.index))
    assert found.found[0].original.dtype == found.found[0].witness.dtype == torch.float32


def test_the_first_positions_alone_are_attacked_where_an_attempt_says_so(line: Classifier) -> None:
    few = Attempt("few", to(0.9).attack, Margin, only_first=12)
    found = evaluator(line, few).run(grey(0.45, 0.46, 0.47, first=10))
    assert verdicts(found) == [0, 0, -1]
    assert found.efforts[0].attempted == 2


def test_an_attempt_for_failing_gradients_is_made_where_they_fail(line: Classifier) -> None:
    extra = Attempt("extra", to(0.9).attack, Margin, if_gradients_fail=True)
    # A gradient that breaks all but one image does not fail, one that breaks none does.
    good = evaluator(line, PGD_5, extra).run(grey(0.45, 0.46, 0.47, 0.1))
    bad = evaluator(line, Attempt("still", PGD(1, step_size=1e-6), Margin), extra).run(grey(0.3, 0.4, 0.45))
    assert [each.attempted for each in good.efforts] == [4, 0]
    assert [each.attempted for each in bad.efforts] == [3, 3]
    assert verdicts(bad) == [-1, 1, 1]


def test_time_that_is_up_ends_before_the_next_attempt(line: Classifier) -> None:
    answers: Iterator[bool] = iter([False, True])
    source = GradientSource(line, line.logits)
    search = BatchEvaluator(source, THREAT, (to(0.9), to(0.1)), 0, lambda: next(answers), closed=False)
    with pytest.raises(OutOfTime):
        search.run(grey(0.45))
    assert next(answers, None) is None


# The first batch


def test_the_first_batch_has_probes_and_closing_attempts_and_no_other(line: Classifier) -> None:
    search = evaluator(line, closed=True)
    assert [each.name for each in search.attempts] == ["pgd"]
    values = torch.linspace(0.1, 0.9, 6).tolist()
    first, later = search.run(grey(*values)), search.run(grey(*values, first=6))
    assert [each.name for each in search.attempts] == ["pgd", ONE_STEP, NOISE, TWICE]
    assert len(first.efforts) == len(later.efforts) == 4
    assert len(first.checks) > 5
    assert later.checks == ()
    # The gradients of probes are none of the attempts'.
    assert first.signs.gradients == later.signs.gradients > 0
    assert first.signs.not_finite == 0


def test_probes_of_a_first_batch_that_was_not_finished_are_kept(
    line: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    probe = probe_checks

    def noted(source: GradientSource, threat: Threat, batch: Batch, seed: int, *, white_box: bool) -> object:
        calls.append(len(batch))
        return probe(source, threat, batch, seed, white_box=white_box)

    monkeypatch.setattr("harden.evaluation.batch_evaluation.probe_checks", noted)
    search, batch = evaluator(line, closed=True), grey(0.2, 0.45, 0.55, 0.8)
    few = Batch(batch.x[:2], batch.y[:2], batch.index[:2])
    one = search.run(batch, few)
    two = search.run(few)
    assert calls == [2]
    assert [each for each in two.checks if each in one.checks][:5] == list(one.checks[:5])


def test_images_without_a_gradient_are_counted(line: Classifier) -> None:
    blind = Classifier(_Cut(line.network), head="inner.1")
    signs = evaluator(blind, Attempt("square", Square(queries=2), Margin)).run(grey(0.1, 0.2, 0.8)).signs
    assert signs.zero_gradients == 3
    assert evaluator(line).run(grey(0.1, 0.2, 0.8)).signs.zero_gradients == 0


class _Cut(torch.nn.Module):
    """The network without a way back to the image."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x.detach())
        return logits


def test_a_network_for_queries_alone_is_none_that_lacks_a_gradient(line: Classifier) -> None:
    opaque = Classifier(GradientFreeNetwork(lambda x: line.logits(x).detach()))
    square = Attempt("square", Square(queries=20), Margin, black_box=True)
    found = evaluator(opaque, square).run(grey(0.1, 0.45))
    assert found.signs.zero_gradients == 0
    assert verdicts(found) == [-1, 0]


# Resuming, identity, cost


def test_a_resumed_evaluation_needs_the_same_answers(line: Classifier) -> None:
    batch = grey(0.2, 0.45, 0.8)
    outcome = evaluator(line).run(batch)
    evaluator(line).resume(batch, outcome)
    with pytest.raises(InputError) as caught:
        evaluator(line, judge=lambda x: -line.logits(x)).resume(batch, outcome)
    assert caught.value.seen == "a judge that classifies the first batch differently than before"
    assert "same model" in caught.value.expected
    assert caught.value.instead == "begin anew in another folder"


def test_the_identity_is_what_a_result_depends_on(line: Classifier) -> None:
    found = evaluator(line, PGD_5, Attempt("fgsm", FGSM())).identity()
    assert found["threat"] == 'Linf("1/8")'
    assert found["seed"] == 3
    attempts = found["attempts"]
    assert isinstance(attempts, list)
    assert [each["name"] for each in attempts if isinstance(each, dict)] == ["pgd", "fgsm"]
    assert attempts[0] == {"name": "pgd", **PGD_5.describe()}


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [
        (pgd_suite(2, 1), 1.0),
        ((*pgd_suite(2, 1), Attempt("square", Square(queries=2), Margin, black_box=True)), 3.0),
    ],
)
def test_a_pass_takes_as_long_as_a_gradient_or_three_queries(
    line: Classifier, monkeypatch: pytest.MonkeyPatch, attempts: tuple[Attempt, ...], seconds: float
) -> None:
    """On a clock that advances by a second whenever it is read."""
    readings = count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(readings)))
    monkeypatch.setattr("harden.evaluation.batch_evaluation.time", clock)
    assert evaluator(line, *attempts).one_pass(grey(0.2, 0.7)) == (seconds, 2)


def test_images_of_another_size_are_the_reason_where_the_judge_fails(line: Classifier) -> None:
    x = torch.full((2, 1, 3, 3), 0.5)
    with pytest.raises(InputError, match=r"images of shape \(1, 3, 3\) on which the network fails"):
        evaluator(line).run(Batch(x, torch.tensor([0, 1]), torch.arange(2)))


def test_a_failure_that_two_images_do_not_have_is_raised_as_it_is(line: Classifier) -> None:
    def small(x: Tensor) -> Tensor:
        if len(x) > 2:
            raise RuntimeError("no memory left for so many")
        return line.logits(x)

    with pytest.raises(RuntimeError, match="no memory left for so many"):
        evaluator(line, judge=small).run(grey(0.1, 0.2, 0.8))


def test_no_images_have_no_verdict(line: Classifier) -> None:
    batch = grey(0.1)
    assert evaluator(line).device == torch.device("cpu")
    wrong = Batch(batch.x, 1 - batch.y, batch.index)
    found = evaluator(line).run(wrong)
    assert verdicts(found) == [-1]
    assert (found.efforts[0].attempted, found.efforts[0].passes) == (0, 0.0)
