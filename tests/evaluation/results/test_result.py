"""Text of an evaluation: a model that is no better than guessing gets a warning."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harden.evaluation import Evaluation, at_threshold, evaluate, pgd_suite
from harden.evaluation.results.evaluation_report import EvaluationReport
from harden.models import Classifier
from harden.threats import Linf

K, N = 4, 60


def answers(only: int | None) -> Classifier:
    """Reads its answer from the first pixel, k / (2 K) for class k; or gives one answer to all.

    The largest of 2 k v - k^2 over k is the k nearest to v.
    """
    head, k = nn.Linear(4, K), torch.arange(K)
    with torch.no_grad():
        head.weight.zero_()
        head.weight[:, 0] = 4.0 * K * k
        head.bias.copy_(-(k**2) if only is None else 100.0 * (k == only))
    return Classifier(nn.Sequential(nn.Flatten(), head))


def found(right: int, only: int | None = None) -> Evaluation:
    """An evaluation of which so many of N images are answered right; the rest as the next class."""
    y = torch.arange(N) % K
    reported = torch.where(torch.arange(N) < right, y, (y + 1) % K)
    x = (reported / (2 * K)).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return evaluate(answers(only), (x, y), Linf("1/1000"), pgd_suite(1, 1))


@pytest.mark.parametrize(("right", "warns"), [(60, False), (30, False), (15, True), (0, True), (18, True)])
def test_accuracy_at_chance_is_told(right: int, warns: bool) -> None:
    one = found(right)
    assert one.clean.count == right
    assert bool(one.caution()) is warns
    report = EvaluationReport.of(one, "torch", ("a", "b", "c", "d"), 0)
    assert len(report.warnings) == warns
    assert all("answering a to every image" in line for line in report.warnings)


def test_one_answer_to_every_image_is_told_by_its_name() -> None:
    one = found(60, only=2)
    assert "every one of the 60 images is answered c" in one.caution(("a", "b", "c", "d"))
    assert "answered 2" in one.caution()
    assert one.clean.count == 15


@pytest.mark.parametrize(("threshold", "only"), [(0.999999, "no"), (0.000001, "yes"), (0.5, None)])
def test_a_threshold_that_gives_one_answer_is_told(threshold: float, only: str | None) -> None:
    y = torch.arange(40) % 2
    x = (0.2 + 0.6 * y).view(-1, 1, 1, 1)
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[-4.0], [4.0]]))
        head.bias.copy_(torch.tensor([2.0, -2.0]))
    network = Classifier(nn.Sequential(nn.Flatten(), head))
    one = evaluate(at_threshold(network, threshold), (x, y), Linf("1/1000"), pgd_suite(1, 1))
    said = one.caution(("no", "yes"))
    assert (f"answered {only};" in said) if only else said == ""
