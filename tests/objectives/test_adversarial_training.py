from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import PGD, Attack
from harden.data import Batch
from harden.description import describe, restore
from harden.draws import Draws
from harden.losses import CrossEntropy, LossFunction
from harden.models import Classifier, FastCopy, frozen
from harden.objectives import TRADES, AdversarialTraining, MoCo, Objective, SimCLR, Step
from harden.threats import Linf, Threat
from harden.views import LIGHT, Views
from tests.models.zoo import Contiguous

SHORT = PGD(steps=3, step_size=0.5, keep_best=False)


@dataclass
class Watched:
    """Runs an attack and notes how it found the model."""

    model: Classifier
    attack: Attack = SHORT
    found: list[Tensor] = field(default_factory=list)
    training: list[bool] = field(default_factory=list)
    trainable: list[bool] = field(default_factory=list)
    grads: list[bool] = field(default_factory=list)
    buffers_moved: list[bool] = field(default_factory=list)

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        before = [value.clone() for value in self.model.buffers()]
        self.training.append(any(part.training for part in self.model.modules()))
        self.trainable.append(any(weight.requires_grad for weight in self.model.parameters()))
        x_adv = self.attack(loss, x, threat, draws)
        self.buffers_moved.append(not same(before, list(self.model.buffers())))
        self.grads.append(any(weight.grad is not None for weight in self.model.parameters()))
        self.found.append(x_adv.clone())
        return x_adv


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def without_dropout(model: Classifier) -> Classifier:
    model.network.get_submodule("5").p = 0.0  # type: ignore[assignment]
    return model


def naive_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    total = torch.zeros(())
    for row, label in zip(logits, y.tolist(), strict=True):
        total = total - row[label] + row.exp().sum().log()
    return total / len(y)


def test_madry_is_the_cross_entropy_at_the_point_its_attack_finds(model: Classifier, batch: Batch) -> None:
    model = without_dropout(model).eval()
    watched = Watched(model)
    objective = AdversarialTraining(watched)
    state = objective.start(model, 12).eval()
    at = Step(7, 0.5, Linf("0.1"), seed=3, generator=torch.Generator())
    value = objective(state, batch, at)
    # The attack is the one anybody gets from the same loss, threat and draws.
    expected = SHORT(CrossEntropy(model.logits, batch.y), batch.x, at.threat, at.draws(batch.index))
    assert torch.equal(watched.found[0], expected)
    assert not torch.equal(expected, batch.x)
    torch.testing.assert_close(value, naive_cross_entropy(model.logits(expected), batch.y))
    assert value > naive_cross_entropy(model.logits(batch.x), batch.y)


def test_label_smoothing_mixes_the_label_with_all_classes(model: Classifier, batch: Batch) -> None:
    model = without_dropout(model).eval()
    at = Step(0, 0.5, Linf("0"), seed=3, generator=torch.Generator())
    objective = AdversarialTraining(SHORT, label_smoothing=0.3)
    value = objective(objective.start(model, 12).eval(), batch, at)
    log_p = model.logits(batch.x).log_softmax(1)
    target = 0.7 * functional.one_hot(batch.y, 3) + 0.1
    torch.testing.assert_close(value, -(target * log_p).sum(1).mean())


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_trades_is_its_formula_at_the_point_its_attack_finds(
    model: Classifier, batch: Batch, step: Step, mode: bool
) -> None:
    model = without_dropout(model)
    watched = Watched(model)
    objective = TRADES(beta=2.5, attack=watched)
    state = objective.start(model, 12).train(mode)
    value = objective(state, batch, step)
    both = model.logits(torch.cat((batch.x, watched.found[0])))
    p, q = both[:12].softmax(1), both[12:].softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    assert divergence > 0
    torch.testing.assert_close(value, naive_cross_entropy(both[:12], batch.y) + 2.5 * divergence)


def test_trades_attacks_the_divergence_and_not_the_label(model: Classifier, batch: Batch, step: Step) -> None:
    model = without_dropout(model).eval()
    watched, other = Watched(model), Watched(model)
    first, second = TRADES(attack=watched), TRADES(attack=other)
    first(first.start(model, 12).eval(), batch, step)
    second(second.start(model, 12).eval(), replace_labels(batch), step)
    assert torch.equal(watched.found[0], other.found[0])


def test_trades_without_beta_is_plain_training(model: Classifier, batch: Batch, step: Step) -> None:
    model = without_dropout(model)
    objective = TRADES(beta=0.0, attack=SHORT)
    state = objective.start(model, 12).eval()
    value = objective(state, batch, step)
    torch.autograd.backward(value)
    gradient = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad()
    plain = functional.cross_entropy(model.logits(batch.x), batch.y)
    torch.autograd.backward(plain)
    torch.testing.assert_close(value, plain)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, gradient[name])


def test_trades_gradient_flows_through_the_clean_distribution(model: Classifier, batch: Batch) -> None:
    # A detached target is a known defect of TRADES copies: the formula differentiates both arguments.
    model = without_dropout(model).eval()
    at = Step(0, 0.5, Linf("0.1"), seed=3, generator=torch.Generator())
    watched = Watched(model)
    objective = TRADES(beta=1.0, attack=watched)
    torch.autograd.backward(objective(objective.start(model, 12).eval(), batch, at))
    head = model.head
    assert isinstance(head, nn.Linear)
    assert head.weight.grad is not None
    mine = head.weight.grad.clone()
    model.zero_grad()
    p = model.logits(batch.x).softmax(1)
    q = model.logits(watched.found[0]).softmax(1)
    torch.autograd.backward(
        functional.cross_entropy(model.logits(batch.x), batch.y) + (p * (p / q).log()).sum(1).mean()
    )
    torch.testing.assert_close(mine, head.weight.grad)


@pytest.mark.parametrize("kind", [AdversarialTraining, TRADES, SimCLR, MoCo])
def test_the_attack_inside_leaves_no_trace(
    kind: type[AdversarialTraining | TRADES | SimCLR | MoCo], model: Classifier, batch: Batch, step: Step
) -> None:
    watched = Watched(model)
    objective: Objective = kind(attack=watched)
    state = objective.start(model, 12).train()
    model.network.get_submodule("0").weight.requires_grad_(False)
    flags = [weight.requires_grad for weight in state.parameters()]
    counted = int(model.network.get_submodule("1").num_batches_tracked)  # type: ignore[arg-type]
    value = objective(state, batch, step)
    assert watched.training == [False]
    assert watched.trainable == [False]
    assert watched.buffers_moved == [False]
    assert watched.grads == [False]
    assert all(weight.grad is None for weight in state.parameters())
    assert [weight.requires_grad for weight in state.parameters()] == flags
    assert all(part.training for part in model.modules())
    # One forward in training mode, the objective's own, moved the statistics: the attack's did not.
    assert int(model.network.get_submodule("1").num_batches_tracked) == counted + 1  # type: ignore[arg-type]
    torch.autograd.backward(value)
    assert any(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("kind", [AdversarialTraining, TRADES])
def test_the_attacked_images_stay_in_the_ball_around_the_view(
    kind: type[AdversarialTraining | TRADES], model: Classifier, batch: Batch, step: Step
) -> None:
    watched = Watched(model)
    views = Views(flip=1.0)
    objective = kind(attack=watched, views=views)
    objective(objective.start(model, 12), batch, step)
    assert bool(step.threat.contains(watched.found[0], batch.x.flip(3)).all())
    assert not bool(step.threat.contains(watched.found[0], batch.x).all())


@pytest.mark.parametrize("kind", [AdversarialTraining, TRADES])
def test_random_starts_follow_the_example_and_the_step_not_the_batch(
    kind: type[AdversarialTraining | TRADES], model: Classifier, batch: Batch, step: Step
) -> None:
    model = without_dropout(model).eval()
    found = []
    reverse = torch.arange(11, -1, -1)
    turned = Batch(batch.x[reverse], batch.y[reverse], batch.index[reverse])
    for given, number in ((batch, 0), (turned, 0), (batch, 1)):
        # One step from the start with a tiny step size: what is seen is the start.
        watched = Watched(model, PGD(steps=1, step_size=1e-6, keep_best=False))
        objective = kind(attack=watched)
        objective(objective.start(model, 12).eval(), given, replace(step, number=number))
        found.append(watched.found[0])
    torch.testing.assert_close(found[0], found[1][reverse], atol=1e-6, rtol=0)
    assert (found[0] - found[2]).abs().max() > 0.05


def test_light_views_draw_from_the_generator_alone(model: Classifier, batch: Batch, step: Step) -> None:
    model = without_dropout(model)
    objective = AdversarialTraining(SHORT, views=LIGHT)
    values: list[float] = []
    for seed in (4, 4, 5):
        torch.manual_seed(len(values))
        at = replace(step, generator=torch.Generator().manual_seed(seed))
        values.append(float(objective(objective.start(model, 12).eval(), batch, at).detach()))
    assert values[0] == values[1] != values[2]


def replace_labels(batch: Batch) -> Batch:
    return Batch(batch.x, (batch.y + 1) % 3, batch.index)


# The fast copy that the attack climbs


@pytest.mark.parametrize("kind", [AdversarialTraining, TRADES])
def test_the_fast_copy_follows_the_weights_at_every_step(
    kind: type[AdversarialTraining | TRADES], model: Classifier, batch: Batch, step: Step
) -> None:
    attack = PGD(steps=3, step_size=0.5, keep_best=False)
    fast, itself = kind(attack=attack), kind(attack=attack, steering=None)
    state = fast.start(model, 12).train()
    for _ in range(3):
        network = copy.deepcopy(model)
        found = []
        for objective, held in ((fast, state), (itself, itself.start(network, 12).train())):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # of the network's dropout
                found.append(objective(held, batch, step))
        value, expected = found
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-4)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.05 * weight.abs().mean())
    assert not [name for name in state.state_dict() if not name.startswith("classifier.")]


@pytest.mark.parametrize("steering", [FastCopy(), FastCopy(bfloat16=True), None], ids=str)
@pytest.mark.parametrize("objective", [AdversarialTraining, TRADES])
def test_a_network_that_needs_contiguous_memory_trains(
    objective: type[AdversarialTraining | TRADES], steering: FastCopy | None, step: Step
) -> None:
    model = Classifier(Contiguous())
    x = torch.rand(6, 8, 8, 3, generator=torch.Generator().manual_seed(0)).permute(0, 3, 1, 2)
    batch = Batch(x, torch.arange(6) % 3, torch.arange(6))
    made = objective(attack=PGD(steps=2, keep_best=False), views=LIGHT, steering=steering)
    state = made.start(model, 6)
    for _ in range(2):
        made(state, batch, step).backward()  # type: ignore[no-untyped-call]  # torch left it untyped
    assert all(weight.grad is not None for weight in model.parameters())


def test_bfloat16_is_asked_for_and_trains_on_images_of_the_same_ball(
    model: Classifier, batch: Batch, step: Step
) -> None:
    watched = Watched(model)
    objective = AdversarialTraining(attack=watched, steering=FastCopy(bfloat16=True))
    value = objective(objective.start(model, 12).train(), batch, step)
    assert bool(value.isfinite())
    assert watched.found[0].dtype == torch.float32
    assert bool(step.threat.contains(watched.found[0], batch.x).all())


@pytest.mark.parametrize("attack", [PGD(), PGD(stop_early=True)], ids=["default", "stop_early"])
def test_training_maximises_the_cross_entropy_to_the_last_step(
    attack: PGD, model: Classifier, batch: Batch, step: Step
) -> None:
    """The network errs on many of these images at once; an attack that stopped there would train for less."""
    model = without_dropout(model).eval()
    watched = Watched(model, attack)
    objective = AdversarialTraining(attack=watched, steering=None)
    objective(objective.start(model, 12), batch, step)
    with frozen(model):
        loss, draws = CrossEntropy(model.logits, batch.y), step.draws(batch.index)
        expected = PGD()(lambda x: loss(x), batch.x, step.threat, draws)
        stopped = PGD(stop_early=True)(loss, batch.x, step.threat, draws)
    assert torch.equal(watched.found[0], expected)
    assert bool((loss(watched.found[0]) >= loss(stopped)).all())
    assert int((loss(watched.found[0]) > loss(stopped)).sum()) > 3


def test_the_form_of_the_copy_stands_in_the_recipe() -> None:
    for how in (None, FastCopy(), FastCopy(bfloat16=True)):
        objective = TRADES(steering=how)
        assert restore(describe(objective)) == objective
