"""Cost of an evaluation, extrapolated, against the passes that one spends."""

from __future__ import annotations

import pytest
import torch

from harden.data import load
from harden.evaluation import pgd_suite
from harden.evaluation.evaluation_cost import evaluation_pace
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.models import Classifier
from harden.models.small_networks import small_cnn
from harden.threats import Linf


def test_the_cost_of_an_evaluation_bounds_that_of_a_network_on_which_every_image_stands() -> None:
    test = load("digits").test.take(torch.arange(40))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Classifier(small_cnn(1, 10, 8)).eval()
    pace = evaluation_pace(model, test, Linf("1/10"), 128)
    answers = model.logits(test.batch(torch.arange(40)).x).argmax(1)
    data = (test.batch(torch.arange(40)).x, answers)
    for steps, restarts in ((7, 3), (2, 5)):
        found = evaluate_unchecked(model, data, Linf("1/100000"), pgd_suite(steps, restarts))
        assert found.robust.count == 40
        assert pace.per_image(steps, restarts) == pytest.approx(found.passes / 40, rel=0.15)
