"""Closing attempts: which follow which attempts, and their reserved names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.attacks import APGD, FGSM, PGD, RandomNoise
from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation import Attempt, evaluate, pgd_suite
from harden.evaluation.trust.closing_attempts import (
    LEAST,
    MOST,
    NOISE,
    ONE_STEP,
    RESERVED,
    TWICE,
    TWICE_ON,
    closing_attempts,
)
from harden.losses import LossFunction, Margin
from harden.models import Classifier
from harden.threats import Linf, Threat

THREAT = Linf("0.1")


def still(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
    """An attack that does nothing."""
    return x


def test_the_longest_attempt_that_climbs_is_doubled() -> None:
    for steps, doubled in ((1, LEAST), (10, LEAST), (30, 60), (100, 200), (1000, MOST)):
        found = closing_attempts(pgd_suite(steps, 1), differentiable=True)
        assert [attempt.name for attempt in found] == [ONE_STEP, NOISE, TWICE]
        assert found[-1].attack == APGD(steps=doubled, stop_early=True)
        assert found[-1].only_first == TWICE_ON


def test_without_a_gradient_noise_alone_closes() -> None:
    assert [attempt.name for attempt in closing_attempts(pgd_suite(), differentiable=False)] == [NOISE]
    blind = Attempt("blind", RandomNoise(5), Margin)
    assert [attempt.name for attempt in closing_attempts([blind], differentiable=True)] == [ONE_STEP, NOISE]


def test_their_names_are_taken(line: Classifier) -> None:
    data = (torch.full((3, 1, 2, 2), 0.2), torch.zeros(3, dtype=torch.int64))
    for name in RESERVED:
        with pytest.raises(InputError, match=name):
            evaluate(line, data, THREAT, [Attempt(name, still)])
    with pytest.raises(InputError, match="twice"):
        evaluate(line, data, THREAT, [Attempt("a", still), Attempt("a", PGD())])


def test_a_step_ends_as_one_step_attacks_do(line: Classifier) -> None:
    assert closing_attempts(pgd_suite(), differentiable=True)[0].attack == FGSM()
