"""What an attempt may use: the network, another network, or the judge's scores alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import APGD, PGD, Attack, RandomNoise, RayS, Square, Targeted
from harden.data import Batch, Splits
from harden.draws import Draws
from harden.evaluation import Attempt, Evaluation, TrustCheck, evaluate
from harden.evaluation.attack_and_judge import attack_and_judge
from harden.evaluation.fast_copy_cache import GradientSource
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.losses import CrossEntropy, Margin
from harden.models import Classifier
from harden.threats import Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

THREAT = Linf("0.1")
Data = tuple[Tensor, Tensor]


class Rounded(nn.Module):
    """Rounds its input to a few grey levels, so that no gradient comes through."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x * 15).round() / 15)
        return logits


@pytest.fixture
def data(digits: Splits) -> Data:
    return digits.test.x[:80], digits.test.y[:80]


def check(found: Evaluation, name: str) -> TrustCheck:
    (one,) = (check for check in found.checks if check.name == name)
    return one


def test_what_another_network_finds_counts_where_the_evaluated_one_errs(
    plain: Classifier, hardened: Classifier, data: Data
) -> None:
    transfer = Attempt("transfer", PGD(steps=20), CrossEntropy, source=plain)
    found = evaluate_unchecked(hardened, data, THREAT, [transfer])
    white = evaluate_unchecked(hardened, data, THREAT, [Attempt("white", PGD(steps=20), CrossEntropy)])
    assert 0 < int(found.broken.sum()) < int(white.broken.sum())
    with torch.no_grad():
        answers = hardened.logits(found.witnesses.witness).argmax(1)
    assert torch.equal(answers, found.witnesses.prediction)
    assert bool((answers != found.witnesses.label).all())
    assert "Sequential" in str(found.attempts[0].spec["source"])
    # A journal and a certificate distinguish sources by their weights.
    other = Attempt("transfer", PGD(steps=20), CrossEntropy, source=hardened).describe()
    assert other["source_weights"] != found.attempts[0].spec["source_weights"]


def test_transfer_breaks_what_masked_gradients_hide_and_the_number_is_not_trusted(
    plain: Classifier, data: Data
) -> None:
    masked = Classifier(Rounded(plain.network))
    blind = Attempt("white", APGD(steps=20), CrossEntropy)
    transfer = Attempt("transfer", PGD(steps=20), CrossEntropy, source=plain)
    found = evaluate(masked, data, THREAT, [blind, transfer])
    assert found.status == "unreliable"
    assert check(found, "black box beats white box").value > 0.1


def test_black_boxes_ask_the_judge_alone(plain: Classifier, data: Data) -> None:
    queried: list[int] = []

    def judge(x: Tensor) -> Tensor:
        assert not x.requires_grad
        queried.append(len(x))
        return torch.from_numpy(plain.logits(x).detach().numpy())

    def gradients(x: Tensor) -> Tensor:
        raise AssertionError("a black box looked at the network")

    queries = 60
    square = Attempt("square", Square(queries=queries), Margin, black_box=True)
    found = evaluate_unchecked(plain, data, THREAT, [square], judge=judge)
    assert 5 < int(found.broken.sum()) < 80
    assert found.attempts[0].spec["access"] == "scores of the judge"
    # The clean images, the queries of unbroken images, the verdict.
    assert 80 < sum(queried) <= 80 * (queries + 3)
    white = evaluate_unchecked(plain, data, THREAT, [Attempt("square", Square(queries=queries), Margin)])
    assert abs(int(white.broken.sum()) - int(found.broken.sum())) <= 2
    # The query that broke each is reported.
    assert bool((found.broken_at[found.broken] > 0).all())
    assert int(found.broken_at.max()) <= queries + 1


def test_labels_alone_suffice_for_rays(plain: Classifier, data: Data) -> None:
    def judge(x: Tensor) -> Tensor:
        # All that is left of the scores is which is the largest.
        return nn.functional.one_hot(plain.logits(x).argmax(1), 10).float()

    rays = Attempt("rays", RayS(queries=300), Margin, black_box=True)
    found = evaluate_unchecked(plain, (data[0][:30], data[1][:30]), THREAT, [rays], judge=judge)
    assert int(found.broken.sum()) > 5
    assert bool((found.broken_at[found.broken] > 0).all())


def test_the_first_positions_alone_are_attacked_in_any_batches(plain: Classifier, data: Data) -> None:
    few = Attempt("few", APGD(steps=10), Margin, only_first=25)
    one, other = (evaluate_unchecked(plain, data, THREAT, [few], batch_size=size) for size in (80, 9))
    assert torch.equal(one.broken, other.broken)
    assert not bool(one.broken[25:].any())
    assert bool(one.broken[:25].any())
    assert one.attempts[0].attempted == int(one.clean_correct[:25].sum())


def test_broken_by_and_at_agree_with_the_records(plain: Classifier, data: Data) -> None:
    first = Attempt("first", PGD(steps=3), CrossEntropy)
    second = Attempt("second", APGD(steps=30), Margin)
    found = evaluate_unchecked(plain, data, THREAT, [first, second])
    for place, record in enumerate(found.attempts):
        assert int((found.broken_by == place).sum()) == record.broken > 0
    assert torch.equal(found.broken_by >= 0, found.broken)
    assert torch.equal(found.broken_at > 0, found.broken)
    assert int(found.broken_at[found.broken_by == 0].max()) <= 3


@pytest.mark.parametrize(
    "attack", [Square(queries=5), RayS(queries=5), RandomNoise(3), Targeted(Square(queries=3))]
)
def test_attacks_without_gradients_query_the_network_itself_whatever_steers_the_others(
    plain: Classifier, data: Data, attack: Attack
) -> None:
    """In bfloat16 most of Square's proposals tie: of five images that it breaks in float32 it broke none."""
    kinds: set[torch.dtype] = set()

    class Watched(nn.Module):
        """Notes the type in which it computes, its copies too."""

        def __init__(self) -> None:
            super().__init__()
            self.network = plain.network

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.network(x)
            kinds.add(logits.dtype)
            return logits

    model = Classifier(Watched())
    gradient_source = GradientSource(model, model.logits)
    gradient_source.inspect(plain.logits(data[0][:2]).detach())
    for attempt in (
        Attempt("a", attack, Margin, torch.bfloat16),
        Attempt("b", PGD(2), Margin, torch.bfloat16),
    ):
        kinds.clear()
        batch = Batch(*data, torch.arange(80))
        attack_and_judge(attempt, gradient_source, THREAT, batch, Draws(0, batch.index))
        assert (torch.bfloat16 in kinds) is attempt.is_white_box
        expected = "bfloat16" if attempt.is_white_box else "float32"
        assert gradient_source.as_run(attempt).describe()["precision"] == expected
