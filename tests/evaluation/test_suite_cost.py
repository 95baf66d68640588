"""Upper bounds on a suite's cost against the passes that are counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harden.attacks import PGD, Targeted
from harden.data import Splits
from harden.evaluation import Attempt, pgd_suite, quick, standard, thorough
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.evaluation.suite_cost import closing_passes, passes_at_most
from harden.evaluation.trust.closing_attempts import closing_attempts
from harden.losses import DLR
from harden.models import Classifier
from harden.threats import Linf

Data = tuple[Tensor, Tensor]


@pytest.fixture
def data(digits: Splits) -> Data:
    return digits.test.x[:100], digits.test.y[:100]


@pytest.mark.parametrize("suite", [pgd_suite(7, 2), quick()], ids=["pgd", "quick"])
def test_a_network_that_nothing_breaks_costs_what_is_said(
    plain: Classifier, data: Data, suite: tuple[Attempt, ...]
) -> None:
    with torch.no_grad():
        y = plain.logits(data[0]).argmax(1)
    every = (
        *suite,
        *(replace(one, name=f"{one.name}.") for one in closing_attempts(suite, differentiable=True)),
    )
    found = evaluate_unchecked(plain, (data[0], y), Linf("1/1000000"), every)
    assert found.robust.count == 100
    # In addition to the attempts: the clean forward, the gradient check, the verdicts.
    spent = sum(record.passes for record in found.attempts) / 100
    assert passes_at_most(suite, 10) == pytest.approx(spent, rel=0.04)


def test_suites_cost_the_more_the_more_they_promise() -> None:
    costs = [passes_at_most(suite, 10) for suite in (quick(), pgd_suite(), standard(), thorough())]
    assert costs == sorted(costs)
    assert [round(cost) for cost in costs] == [188, 407, 5253, 20508]  # as docs/evaluation.md says
    two = (Attempt("a", Targeted(PGD(steps=10)), DLR),)
    assert passes_at_most(two, 2) < passes_at_most(two, 10) / 2
    assert closing_passes(pgd_suite(), 10) == pytest.approx(100 + 1 + 1 / 3 + 1 / 3 + 10 / 3)
