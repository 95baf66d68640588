"""The work that is timed: the same number of gradients, whatever the network answers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harden.attacks import GradientMeter, metering
from harden.data import load
from harden.models import Classifier
from harden.models.pass_count import PassMeter, counting
from harden.regression.timing.attack_workload import STEPS, attack_work
from tests.fitted import fitted


def test_the_work_is_the_same_whether_or_not_a_network_errs() -> None:
    """A network that is always wrong, one that is sometimes, and one that no such budget breaks."""
    batch = load("digits").test.batch(torch.arange(16))
    layer = nn.Linear(64, 10)
    chance = nn.Sequential(nn.Flatten(), layer)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.nn.functional.one_hot(torch.tensor(3), 10))
    wrong = batch.y.where(batch.y != 3, 4)
    spent = []
    for network, y in (
        (chance, wrong),
        (fitted(load("digits"), 20), batch.y),
        (chance, torch.full((16,), 3)),
    ):
        work = attack_work(Classifier(network), batch.x, y)
        with metering(GradientMeter()) as gradients, counting(PassMeter()) as passes:
            work()
        spent.append((gradients.total, passes.passes))
    assert len(set(spent)) == 1
    assert spent[0][0] == 16 * STEPS * 4  # once untargeted, three times aimed


@pytest.mark.parametrize(("classes", "runs"), [(2, 2), (3, 3), (4, 4), (10, 4)])
@pytest.mark.parametrize("softmax", [False, True])
def test_few_classes_and_probabilities_have_their_gradients_too(
    classes: int, runs: int, softmax: bool
) -> None:
    x, y = load("digits").test.x[:8], torch.arange(8) % classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(64, classes), *([nn.Softmax(1)] if softmax else [])]
    before = x.clone(), y.clone()
    work = attack_work(Classifier(nn.Sequential(*layers)), x, y)
    with metering(GradientMeter()) as gradients:
        work()
    assert gradients.total == 8 * STEPS * runs
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_it_draws_nothing_of_the_process(rng_untouched: None) -> None:
    batch = load("digits").test.batch(torch.arange(4))
    attack_work(Classifier(fitted(load("digits"), 1)), batch.x, batch.y)()
