"""Sources of gradients: one fast copy for each network and precision, and what attacks get are copies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harden.attacks import PGD, RandomNoise, Square, Targeted
from harden.data import Batch
from harden.errors import InputError
from harden.evaluation import Attempt
from harden.evaluation import fast_copy_cache as subject
from harden.evaluation.fast_copy_cache import GradientSource, contiguous
from harden.evaluation.probability_outputs import OutputKind
from harden.losses import DLR, CrossEntropy, Margin
from harden.models import Classifier, PreparedNetwork, prepare

pytestmark = pytest.mark.usefixtures("rng_untouched")

PGD_CE = Attempt("pgd", PGD(2), CrossEntropy)
SQUARE = Attempt("square", Square(queries=5), Margin)


def grey(n: int = 6) -> Batch:
    x = torch.linspace(0.1, 0.9, n).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    return Batch(x, (x.flatten(1).mean(1) > 0.5).long(), torch.arange(n))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Classifier, int, torch.dtype]]:
    """The fast copies that were made: network, number of examples, precision."""
    calls: list[tuple[Classifier, int, torch.dtype]] = []

    def noted(model: Classifier, example: Tensor, precision: torch.dtype) -> PreparedNetwork:
        calls.append((model, len(example), precision))
        return prepare(model, example, precision)

    monkeypatch.setattr(subject, "prepare", noted)
    return calls


def test_a_copy_is_made_on_first_use_once_for_each_network_and_precision(
    line: Classifier, made: list[tuple[Classifier, int, torch.dtype]]
) -> None:
    source, other = GradientSource(line, line.logits), Classifier(line.network)
    half = Attempt("half", PGD(2), CrossEntropy, torch.bfloat16)
    for attempt in (PGD_CE, half, Attempt("transfer", PGD(2), CrossEntropy, source=other)) * 2:
        source.loss(attempt, grey())
    assert [(model is line, precision) for model, _, precision in made] == [
        (True, torch.float32),
        (True, torch.bfloat16),
        (False, torch.float32),
    ]
    # A few images are enough to find what can be folded.
    assert {count for _, count, _ in made} == {4}


@pytest.mark.parametrize(
    "attempt",
    [
        SQUARE,
        Attempt("noise", RandomNoise(3)),
        Attempt("targeted", Targeted(Square(queries=3)), Margin),
        Attempt("black box", Square(queries=5), Margin, black_box=True),
    ],
    ids=lambda each: each.name,
)
def test_attacks_without_gradients_query_the_judge_and_no_copy(
    attempt: Attempt, line: Classifier, made: list[tuple[Classifier, int, torch.dtype]]
) -> None:
    source, batch = GradientSource(line, lambda x: -line.logits(x)), grey()
    loss, x = source.loss(attempt, batch)
    assert made == []
    # The judge's answers are the network's with their sign changed.
    expected = attempt.loss(lambda x: -line.logits(x), batch.y)(batch.x)
    torch.testing.assert_close(loss(x), expected)
    assert source.as_run(attempt).precision == torch.float32


def test_the_images_are_a_copy_and_the_labels_too(line: Classifier) -> None:
    for attempt in (PGD_CE, SQUARE):
        batch = grey()
        before, y = batch.x.clone(), batch.y.clone()
        loss, x = GradientSource(line, line.logits).loss(attempt, batch)
        assert torch.equal(x, before)
        value = loss(x).detach()
        x.zero_()
        assert torch.equal(batch.x, before)
        batch.y.fill_(0)
        torch.testing.assert_close(loss(before).detach(), value)
        batch.y.copy_(y)


def test_probabilities_are_attacked_through_their_logarithms(line: Classifier) -> None:
    def judge(x: Tensor) -> Tensor:
        return line.logits(x).softmax(1)

    model = Classifier(line.network)
    source, batch = GradientSource(model, judge), grey()
    source.inspect(judge(batch.x).detach())
    assert (source.output, source.classes) == (OutputKind.PROBABILITIES, 2)
    loss, x = source.loss(Attempt("square", Square(queries=5), CrossEntropy), batch)
    expected = -line.logits(batch.x).log_softmax(1).gather(1, batch.y[:, None])[:, 0]
    torch.testing.assert_close(loss(x), expected)


def test_the_output_of_another_source_is_used_as_it_is(line: Classifier) -> None:
    """The judge returns probabilities; the network that is transferred from returns logits below 0."""
    shifted = Classifier(torch.nn.Sequential(line.network, _Less()), head="0.1")
    source, batch = GradientSource(line, lambda x: line.logits(x).softmax(1)), grey()
    source.inspect(line.logits(batch.x).softmax(1).detach())
    loss, x = source.loss(Attempt("transfer", PGD(2), CrossEntropy, source=shifted), batch)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x).sum(), x)
    assert bool((gradient != 0).flatten(1).any(1).all())


class _Less(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - 10


def test_the_first_outputs_decide_their_kind(line: Classifier) -> None:
    source = GradientSource(line, line.logits)
    assert (source.output, source.classes) == (OutputKind.LOGITS, 0)
    source.inspect(torch.zeros(0, 7))
    assert source.classes == 0
    source.inspect(torch.tensor([[3.0, -1.0, 2.0]]))
    source.inspect(torch.tensor([[0.5, 0.5]]))
    assert (source.output, source.classes) == (OutputKind.LOGITS, 3)


def test_outputs_without_a_loss_are_refused(line: Classifier) -> None:
    masked = torch.tensor([[0.0, 1.0, -torch.inf]] * 3)
    with pytest.raises(InputError, match=r"-inf for class 2.*; expected finite logits.*; mask the class"):
        GradientSource(line, line.logits).inspect(masked)


def test_an_attempt_is_executed_for_the_classes_in_the_precision_of_its_copy(line: Classifier) -> None:
    source, dlr = GradientSource(line, line.logits), Attempt("dlr", PGD(2), DLR, torch.bfloat16)
    # Before any image was seen it is as it was given.
    assert source.as_run(dlr) == dlr
    source.inspect(line.logits(grey().x).detach())
    assert source.as_run(dlr).loss is Margin
    assert source.as_run(dlr).precision == torch.bfloat16


def test_a_precision_that_was_not_used_is_not_reported(
    line: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "prepare", lambda model, x, precision: prepare(model, x, torch.float32))
    source, half = GradientSource(line, line.logits), Attempt("half", PGD(2), CrossEntropy, torch.bfloat16)
    source.loss(half, grey())
    assert source.as_run(half).precision == torch.float32


def test_a_judge_gets_contiguous_images() -> None:
    seen: list[Tensor] = []

    def judge(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten(1)

    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    wrapped: Callable[[Tensor], Tensor] = contiguous(judge)
    found = wrapped(x.contiguous(memory_format=torch.channels_last))
    assert seen[0].is_contiguous()
    assert torch.equal(found, x.flatten(1))
