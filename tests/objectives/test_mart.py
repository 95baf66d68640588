"""MART: its formula by hand, its attack, and its behaviour where the softmax saturates."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from harden.attacks import FGSM, PGD
from harden.data import Batch
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import CrossEntropy, LossFunction
from harden.models import Classifier, FastCopy
from harden.objectives import MART, Step
from harden.objectives.mart import boosted_cross_entropy
from harden.threats import Linf, Threat
from harden.views import Views

SHORT = PGD(steps=3, step_size=0.5, keep_best=False)
WEIGHTS = (0.5, 0.0, 2.5)


class Kept:
    """An attack that keeps what it found."""

    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        self.found.append(SHORT(loss, x, threat, draws))
        return self.found[-1].clone()


def without_dropout(model: Classifier) -> Classifier:
    model.network.get_submodule("5").p = 0.0  # type: ignore[assignment]  # of a Dropout
    return model


def by_hand(clean: Tensor, attacked: Tensor, y: Tensor, beta: float) -> list[float]:
    """The loss of each image from its logits, in Python's floats."""
    losses = []
    for right, wrong, label in zip(clean.tolist(), attacked.tolist(), y.tolist(), strict=True):
        p, q = ([math.exp(z) / sum(map(math.exp, row)) for z in row] for row in (right, wrong))
        second = max(share for k, share in enumerate(q) if k != label)
        divergence = sum(one * math.log(one / other) for one, other in zip(p, q, strict=True))
        losses.append(-math.log(q[label]) - math.log(1 - second) + beta * divergence * (1 - p[label]))
    return losses


@pytest.mark.parametrize("weights", [(), WEIGHTS], ids=["plain", "weighed"])
@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_is_its_formula_at_the_point_its_attack_finds(
    model: Classifier, batch: Batch, step: Step, mode: bool, weights: tuple[float, ...]
) -> None:
    model = without_dropout(model)
    attack = Kept()
    objective = MART(beta=2.5, attack=attack, class_weights=weights)
    value = objective(objective.start(model, 12).train(mode), batch, step)
    (found,) = attack.found
    both = model.logits(torch.cat((batch.x, found)))
    losses = by_hand(both[:12], both[12:], batch.y, 2.5)
    factors = [weights[label] if weights else 1.0 for label in batch.y.tolist()]
    expected = sum(w * loss for w, loss in zip(factors, losses, strict=True)) / sum(factors)
    assert float(value.detach()) == pytest.approx(expected, rel=1e-5)
    assert bool(step.threat.contains(found, batch.x).all())


def test_attacks_the_cross_entropy(model: Classifier, batch: Batch, step: Step) -> None:
    model = without_dropout(model).eval()
    attack = Kept()
    objective = MART(attack=attack, steering=None)
    objective(objective.start(model, 12).eval(), batch, step)
    expected = SHORT(CrossEntropy(model.logits, batch.y), batch.x, step.threat, step.draws(batch.index))
    assert torch.equal(attack.found[0], expected)


def test_the_gradient_is_that_of_the_whole_formula(model: Classifier, batch: Batch, step: Step) -> None:
    """The clean distribution and the factor 1 - p_y are differentiated too."""
    model = without_dropout(model).eval()
    attack = Kept()
    objective = MART(beta=2.0, attack=attack)
    torch.autograd.backward(objective(objective.start(model, 12).eval(), batch, step))
    found = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad()
    p, q = model.logits(batch.x).softmax(1), model.logits(attack.found[0]).softmax(1)
    own = torch.arange(12), batch.y
    others = q.clone()
    others[own] = 0
    boosted = -q[own].log() - (1 - others.amax(1)).log()
    torch.autograd.backward((boosted + 2 * (p * (p / q).log()).sum(1) * (1 - p[own])).mean())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, atol=1e-5, rtol=1e-4)


@given(st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=6), st.data())
def test_the_boosted_cross_entropy_by_hand(row: list[float], data: st.DataObject) -> None:
    label = data.draw(st.integers(0, len(row) - 1))
    shares = [math.exp(z) / sum(map(math.exp, row)) for z in row]
    second = max(share for k, share in enumerate(shares) if k != label)
    expected = -math.log(shares[label]) - math.log1p(-second)
    found = boosted_cross_entropy(torch.tensor([row]), torch.tensor([label]))
    assert found.shape == (1,)
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_saturated_softmax_has_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[300.0, 0.0, -300.0], [-300.0, 300.0, 0.0], [0.0, 0.0, 200.0]], requires_grad=True)
    found = boosted_cross_entropy(logits, torch.tensor([0, 0, 2]))
    torch.autograd.backward(found.sum())
    # Of the second: -log p_0 = 600, and 1 - p_1 = exp(-300), to which class 2 contributes.
    torch.testing.assert_close(found.detach(), torch.tensor([0.0, 900.0, 0.0]))
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[1], torch.tensor([-1.0, 2.0, -1.0]))


def test_two_classes_count_the_label_twice() -> None:
    logits, y = torch.tensor([[1.0, -0.5], [0.0, 2.0]]), torch.tensor([1, 1])
    expected = -2 * logits.log_softmax(1)[:, 1]
    torch.testing.assert_close(boosted_cross_entropy(logits, y), expected)


def test_views_come_before_the_attack(model: Classifier, batch: Batch, step: Step) -> None:
    attack = Kept()
    objective = MART(attack=attack, views=Views(flip=1.0))
    objective(objective.start(model, 12), batch, step)
    assert bool(step.threat.contains(attack.found[0], batch.x.flip(3)).all())
    assert not bool(step.threat.contains(attack.found[0], batch.x).all())


@pytest.mark.parametrize("steering", [None, FastCopy()], ids=str)
def test_the_attack_leaves_no_trace_and_frozen_weights_get_no_gradient(
    model: Classifier, batch: Batch, step: Step, steering: FastCopy | None
) -> None:
    objective = MART(attack=SHORT, steering=steering)
    state = objective.start(model, 12).train()
    frozen = model.network.get_submodule("0")
    frozen.requires_grad_(False)
    norm = model.network.get_submodule("1")
    value = objective(state, batch, step)
    assert all(weight.grad is None for weight in state.parameters())
    assert all(part.training for part in model.modules())
    assert int(norm.num_batches_tracked) == 1  # type: ignore[arg-type]  # a tensor
    torch.autograd.backward(value)
    assert all(weight.grad is None for weight in frozen.parameters())
    assert model.head.weight.grad is not None


def test_without_beta_and_budget_it_is_the_boosted_cross_entropy(model: Classifier, batch: Batch) -> None:
    model = without_dropout(model).eval()
    objective = MART(beta=0.0, attack=FGSM())
    at = Step(0, 0.5, Linf("0"), seed=3, generator=torch.Generator())
    value = objective(objective.start(model, 12).eval(), batch, at)
    torch.testing.assert_close(value, boosted_cross_entropy(model.logits(batch.x), batch.y).mean())


@pytest.mark.parametrize("beta", [-1.0, math.nan, math.inf])
def test_a_beta_that_is_no_weight_is_refused(beta: float) -> None:
    with pytest.raises(
        InputError, match=rf"beta {beta}; expected a weight of 0 or more; write MART\(beta=5\)"
    ):
        MART(beta=beta)


def test_as_many_class_weights_as_logits(model: Classifier, batch: Batch, step: Step) -> None:
    objective = MART(attack=SHORT, class_weights=(1.0, 2.0))
    with pytest.raises(InputError, match="2 class weights for 3 logits"):
        objective(objective.start(model, 12), batch, step)
    with pytest.raises(InputError, match="class weights"):
        MART(class_weights=(1.0, -1.0))


def test_beta_is_that_of_the_paper_by_default() -> None:
    assert MART().beta == 5.0
    assert isinstance(MART().start(Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))), 4), nn.Module)
