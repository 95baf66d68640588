"""Early stopping is a field of the attack and off by default: no loss of a user is maximised for less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import APGD, FGSM, MIFGSM, PGD, Attack, Square
from harden.data import Batch
from harden.draws import Draws
from harden.losses import CrossEntropy, FastCopyLoss, Margin
from harden.models import Classifier, frozen
from harden.objectives import Step
from harden.objectives.objective import ClassifierState, classifier_of
from harden.threats import Linf

N, THREAT, DEFAULT = 16, Linf("1/10"), PGD(steps=5)
MAKE: dict[str, Callable[..., Attack]] = {
    "pgd": lambda **how: PGD(steps=10, **how),
    "apgd": lambda **how: APGD(steps=20, **how),
    "mifgsm": lambda **how: MIFGSM(steps=10, **how),
    "square": lambda **how: Square(queries=60, **how),
}
EVERY = pytest.mark.parametrize("name", MAKE)


def _draws() -> Draws:
    return Draws(0, torch.arange(N))


def _rises(x: Tensor) -> Tensor:
    """A loss of a user's own: no verdicts, and its maximum at the upper end of ball and box."""
    return x.flatten(1).sum(1)


@pytest.fixture
def wrong(network: nn.Module, images: Tensor) -> Tensor:
    """Labels of which none is the network's answer: it errs on every image from the start."""
    with torch.no_grad():
        answers: Tensor = network.eval()(images).argmax(1)
    return (answers + 1) % 4


@EVERY
def test_a_plain_function_is_maximised_whatever_the_field_says(name: str, images: Tensor) -> None:
    found = [MAKE[name](**how)(_rises, images, THREAT, _draws()) for how in ({}, {"stop_early": True})]
    assert torch.equal(*found)
    assert bool((_rises(found[0]) > _rises(images)).all())
    if name != "square":
        top = torch.full_like(images, 2.0)
        THREAT.project_(top, images)
        torch.testing.assert_close(found[0], top)


@EVERY
@pytest.mark.parametrize("copy", [False, True])
def test_by_default_a_loss_is_maximised_though_the_network_errs_already(
    name: str, copy: bool, network: nn.Module, images: Tensor, wrong: Tensor
) -> None:
    exact = CrossEntropy(network, wrong)
    loss = FastCopyLoss(CrossEntropy(network, wrong), exact) if copy else exact
    with torch.no_grad():
        assert bool(exact.judged(images)[1].all())
        clean = exact(images)
    found = MAKE[name]()(loss, images, THREAT, _draws())
    stopped = MAKE[name](stop_early=True)(loss, images, THREAT, _draws())
    alone = MAKE[name]()(lambda x: exact(x), images, THREAT, _draws())
    with torch.no_grad():
        assert bool((exact(found) > clean).all())
        assert bool((exact(found) >= exact(stopped)).all())
        assert float(exact(found).mean()) > float(exact(stopped).mean()) + 0.05
        # The verdicts cost nothing of the height either.
        torch.testing.assert_close(exact(found), exact(alone), rtol=0.02, atol=0.02)


@dataclass(frozen=True)
class OwnObjective:
    """A user's adversarial training, written with the library's loss and its default attack."""

    attack: Attack = DEFAULT

    def start(self, model: Classifier, n: int) -> nn.Module:
        return ClassifierState(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        classifier = classifier_of(state)
        with frozen(classifier):
            loss = CrossEntropy(classifier.logits, batch.y)
            x_adv = self.attack(loss, batch.x, step.threat, step.draws(batch.index))
        return functional.cross_entropy(classifier.logits(x_adv), batch.y)


def test_a_users_objective_with_a_default_attack_trains_on_the_largest_loss(
    network: nn.Module, images: Tensor, wrong: Tensor
) -> None:
    model, step = Classifier(network), Step(0, 0.0, THREAT, seed=1, generator=torch.Generator())
    batch = Batch(images, wrong, torch.arange(N))
    value = {}
    for name, attack in (("default", DEFAULT), ("stopped", PGD(5, stop_early=True))):
        objective = OwnObjective(attack)
        value[name] = float(objective(objective.start(model, N).eval(), batch, step).detach())
    with frozen(model):
        loss = CrossEntropy(model.logits, wrong)
        x_adv = PGD(5)(lambda x: loss(x), images, THREAT, step.draws(batch.index))
        full = float(loss(x_adv).mean())
    assert value["default"] == pytest.approx(full, rel=0.01)
    assert value["stopped"] < 0.98 * full


def test_stopping_is_what_the_field_says(network: nn.Module, images: Tensor, wrong: Tensor) -> None:
    calls: list[int] = []

    def counted(x: Tensor) -> Tensor:
        calls.append(len(x))
        logits: Tensor = network(x)
        return logits

    for attack, forwards in ((PGD(5), 6), (PGD(5, stop_early=True), 1), (FGSM(), 1)):
        calls.clear()
        attack(Margin(counted, wrong), images, THREAT, _draws())
        assert calls == [N] * forwards
