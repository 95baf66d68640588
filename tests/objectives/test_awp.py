"""AWP: the perturbation by hand, what a step sees and pays, and weights that come back bit for bit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Batch, Source, from_loader
from harden.description import describe, restore
from harden.draws import Draws
from harden.errors import DivergedError, InputError
from harden.losses import LossFunction
from harden.models import Classifier, PassMeter, counting
from harden.models.snapshot import read_snapshot, write_snapshot
from harden.objectives import (
    AWP,
    CROWNIBP,
    IBP,
    MART,
    SABR,
    TRADES,
    AdversarialTraining,
    LinearProbe,
    MoCo,
    Objective,
    SimCLR,
    Standard,
    Step,
)
from harden.objectives.awp import past_warmup, without_wrappers
from harden.objectives.objective import ClassifierState, classifier_of
from harden.threats import L2, Linf, Threat
from harden.training import SGD, AdamW, Budget, Stage, train
from harden.training.weights.weight_averaging import weights_of
from harden.views import LIGHT

SHORT = PGD(steps=2, step_size=0.75, keep_best=False)
THREAT = Linf("1/10")
OBJECTIVES: dict[str, Objective] = {
    "standard": Standard(views=LIGHT),
    "probe": LinearProbe(),
    "madry": AdversarialTraining(SHORT, views=LIGHT, class_weights=(1.0, 2.0, 0.5)),
    "trades": TRADES(attack=SHORT),
    "mart": MART(attack=SHORT, views=LIGHT),
    "simclr": SimCLR(attack=SHORT, hidden=6, width=4),
    "moco": MoCo(attack=SHORT, queue=30, hidden=6, width=4),
    "ibp": IBP(),
    "crown-ibp": CROWNIBP(end=0.5),
    "sabr": SABR(attack=SHORT),
}
ATTACKING = ("madry", "trades", "mart")


@pytest.fixture
def source() -> Source:
    """40 noisy images of three classes in batches of 10."""
    generator = torch.Generator().manual_seed(0)
    return from_loader((torch.rand(40, 1, 6, 6, generator=generator), torch.arange(40) % 3), 10)


def parameters_of(state: nn.Module) -> list[Tensor]:
    return [weight.detach().clone() for weight in state.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@dataclass(frozen=True)
class Watched:
    """An objective that notes the weights at each evaluation; not a value of harden's own."""

    inner: Objective
    weights: list[list[Tensor]]
    attack: Any = None

    def start(self, model: Classifier, n: int) -> nn.Module:
        return self.inner.start(model, n)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        self.weights.append(parameters_of(state))
        return self.inner(state, batch, step)


# The perturbation


def test_it_is_the_loss_and_gradient_at_the_weights_of_the_formula(
    model: Classifier, batch: Batch, step: Step
) -> None:
    model.eval()
    expected = copy.deepcopy(model)
    objective = AWP(Standard(), gamma=0.1)
    value = objective(objective.start(model, 12).eval(), batch, step)
    torch.autograd.backward(value)

    def loss() -> Tensor:
        return nn.functional.cross_entropy(expected.logits(batch.x), batch.y)

    weights = dict(expected.named_parameters())
    gradients = dict(zip(weights, torch.autograd.grad(loss(), list(weights.values())), strict=True))
    with torch.no_grad():
        for name, weight in weights.items():
            if weight.dim() > 1:
                weight.add_(gradients[name], alpha=float(0.1 * weight.norm() / gradients[name].norm()))
    torch.testing.assert_close(value, loss())
    torch.autograd.backward(loss())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, weights[name].grad)
    plain = Standard()(ClassifierState(model).eval(), batch, step)
    assert value > plain


@pytest.mark.parametrize("gamma", [0.005, 0.3])
def test_matrices_move_by_gamma_of_their_length_and_vectors_not_at_all(
    model: Classifier, batch: Batch, step: Step, gamma: float
) -> None:
    seen: list[list[Tensor]] = []
    objective = AWP(Watched(Standard(), seen), gamma=gamma)
    objective(objective.start(model, 12).train(), batch, step)
    before, after = seen
    for old, new in zip(before, after, strict=True):
        if old.dim() > 1:
            assert float((new - old).norm()) == pytest.approx(gamma * float(old.norm()), rel=1e-4)
        else:
            assert torch.equal(old, new)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
def test_the_length_depends_on_no_scale_of_the_gradient(
    model: Classifier, batch: Batch, step: Step, scale: float
) -> None:
    seen: list[list[Tensor]] = []

    @dataclass(frozen=True)
    class Scaled:
        def start(self, model: Classifier, n: int) -> nn.Module:
            return ClassifierState(model)

        def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
            seen.append(parameters_of(state))
            return scale * Standard()(state, batch, step)

    objective = AWP(Scaled(), gamma=0.1)
    objective(objective.start(model, 12).train(), batch, step)
    for old, new in zip(*seen, strict=True):
        if old.dim() > 1:
            assert float((new - old).norm()) == pytest.approx(0.1 * float(old.norm()), rel=1e-4)


def test_a_gradient_of_zero_moves_nothing(model: Classifier, batch: Batch, step: Step) -> None:
    seen: list[list[Tensor]] = []
    objective = AWP(Watched(Standard(class_weights=(1.0, 0.0, 0.0)), seen), gamma=0.5)
    nothing = Batch(batch.x, torch.ones_like(batch.y), batch.index)
    value = objective(objective.start(model, 12).train(), nothing, step)
    assert float(value.detach()) == 0.0
    assert same(*seen)


# Weights, buffers and generators come back


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weights_and_generators_are_as_after_the_objective_itself(
    name: str, model: Classifier, batch: Batch, step: Step
) -> None:
    found = []
    for gamma in (0.0, 0.05):
        objective, classifier = AWP(OBJECTIVES[name], gamma), copy.deepcopy(model)
        torch.manual_seed(0)
        state = objective.start(classifier, 12).train()
        flags = [weight.requires_grad for weight in state.parameters()]
        before = parameters_of(state)
        at = replace(step, generator=torch.Generator().manual_seed(4))
        value = objective(state, batch, at)
        assert bool(value.isfinite())
        assert same(before, parameters_of(state))
        assert all(weight.grad is None for weight in state.parameters())
        torch.autograd.backward(value)
        assert same(before, parameters_of(state))
        assert [weight.requires_grad for weight in state.parameters()] == flags
        counts = [value for key, value in state.state_dict().items() if key.endswith(("tracked", "position"))]
        found.append((at.generator.get_state(), torch.get_rng_state(), counts))
    # Draws and buffers of one evaluation and not of two: the queue holds one batch of keys.
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert same(found[0][2], found[1][2])


@contextmanager
def noting_each_step(monkeypatch: pytest.MonkeyPatch, model: Classifier) -> Iterator[list[list[Tensor]]]:
    """The model's weights right before each step of torch's SGD."""
    found: list[list[Tensor]] = []
    step = torch.optim.SGD.step

    def noted(self: Any, *arguments: Any, **named: Any) -> Any:
        found.append(parameters_of(model))
        return step(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", noted)
        yield found


@pytest.mark.parametrize("name", ATTACKING)
def test_the_optimiser_finds_the_weights_that_the_step_before_left(
    name: str, model: Classifier, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = AWP(OBJECTIVES[name], gamma=0.1, warmup=0.0)
    stage = Stage("s", objective, Budget.parse("1epochs"), optimiser=SGD(0.01), average=0.0)
    with noting_each_step(monkeypatch, model) as found:
        now = parameters_of(model)
        for number, _ in enumerate(train(stage, model, source, THREAT)):
            assert same(found[number], now)
            now = parameters_of(model)
    assert len(found) == 4
    assert not same(found[0], found[1])


@dataclass(frozen=True)
class Failing:
    """A loss that raises, or is not finite, at an evaluation."""

    at: int
    value: float
    calls: list[int]

    def start(self, model: Classifier, n: int) -> nn.Module:
        return ClassifierState(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        self.calls.append(0)
        loss = Standard()(state, batch, step)
        if len(self.calls) < self.at:
            return loss
        if self.value == 0:
            raise ArithmeticError
        return loss * self.value


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize(
    ("value", "error"), [(0, ArithmeticError), (math.nan, DivergedError), (math.inf, DivergedError)]
)
def test_a_loss_that_fails_leaves_the_weights(
    at: int, value: float, error: type[Exception], model: Classifier, source: Source
) -> None:
    before = parameters_of(model)
    objective = AWP(Failing(at, value, []), gamma=0.3, warmup=0.0)
    stage = Stage("s", objective, Budget.parse("1epochs"), average=0.0)
    with pytest.raises(error):
        list(train(stage, model, source, THREAT))
    assert same(before, parameters_of(model))
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("name", ATTACKING)
def test_frozen_weights_stay_and_the_rest_trains(
    name: str, model: Classifier, batch: Batch, step: Step
) -> None:
    seen: list[list[Tensor]] = []
    model.network.get_submodule("0").requires_grad_(False)
    objective = AWP(Watched(OBJECTIVES[name], seen), gamma=0.3)
    torch.autograd.backward(objective(objective.start(model, 12).train(), batch, step))
    names = [key for key, _ in model.named_parameters()]
    moved = {key for key, old, new in zip(names, *seen, strict=True) if not torch.equal(old, new)}
    assert moved == {"network.6.weight", "network.8.weight"}
    assert all(
        (weight.grad is None) == key.startswith("network.0.") for key, weight in model.named_parameters()
    )


@pytest.mark.parametrize("trained", ["", "bias"])
def test_no_matrix_to_move_is_the_objective_itself(
    trained: str, model: Classifier, batch: Batch, step: Step
) -> None:
    for key, weight in model.named_parameters():
        weight.requires_grad_(bool(trained) and key.endswith(trained))
    seen: list[list[Tensor]] = []
    objective = AWP(Watched(Standard(), seen), gamma=0.3)
    value = objective(objective.start(model, 12).train(), batch, step)
    assert len(seen) == 1
    assert value.requires_grad == bool(trained)


# What a step sees and pays


@pytest.mark.parametrize("name", ATTACKING)
def test_both_evaluations_see_the_same_views_dropout_and_attacked_images(
    name: str, model: Classifier, batch: Batch, step: Step
) -> None:
    """At an infinitesimal gamma the two evaluations are one and the same function."""
    values: list[float] = []

    class Noted(Watched):
        def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
            inner = replace(self.inner, attack=self.attack)  # type: ignore[type-var]  # a dataclass
            value: Tensor = inner(state, batch, step)
            values.append(float(value.detach()))
            return value

    searches: list[int] = []

    def attack(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        searches.append(len(x))
        return SHORT(loss, x, threat, draws)

    objective = AWP(Noted(OBJECTIVES[name], [], attack), gamma=1e-30)
    objective(objective.start(model, 12).train(), batch, step)
    assert values[0] == values[1]
    assert searches == [12]


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (AWP(Standard()), 2),
        (AWP(AdversarialTraining(SHORT)), 2 + 1 + 1),
        (AWP(TRADES(attack=SHORT)), 2 + 1 / 3 + 2 + 1 / 3 + 2),
        (AWP(MART(attack=SHORT)), 2 + 2 + 2),
        (AWP(MART(attack=SHORT), gamma=0.0), 2 + 2),
        (AWP(MART(attack=SHORT), warmup=0.6), 2 + 2),
        (AWP(Watched(AdversarialTraining(SHORT), [])), 2 * (2 + 1)),
    ],
    ids=["standard", "madry", "trades", "mart", "no gamma", "before its warm-up ends", "attacks again"],
)
def test_costs_a_second_evaluation_without_the_attack(
    objective: Objective, passes: float, model: Classifier, batch: Batch, step: Step
) -> None:
    state = objective.start(model, 12).train()
    with counting(PassMeter()) as meter:
        torch.autograd.backward(objective(state, batch, step))
    assert meter.passes == pytest.approx(12 * passes, rel=1e-9)


def test_the_warm_up_is_a_share_of_the_stage(model: Classifier, batch: Batch, step: Step) -> None:
    seen: list[list[Tensor]] = []
    objective = AWP(Watched(Standard(), seen), gamma=0.1, warmup=0.25)
    state = objective.start(model, 12).train()
    for progress, evaluations in ((0.0, 1), (0.24, 1), (0.25, 2), (0.9, 2)):
        seen.clear()
        objective(state, batch, replace(step, progress=progress))
        assert len(seen) == evaluations


def test_measurements_of_cost_are_made_past_the_warm_up() -> None:
    objective = AWP(TRADES(), warmup=0.4)
    assert past_warmup(objective) == AWP(TRADES(), warmup=0.0)
    assert past_warmup(TRADES()) == TRADES()


# Training


def trained(objective: Objective, model: Classifier, source: Source, **how: Any) -> dict[str, Tensor]:
    stage = Stage("s", objective, Budget.parse("2epochs"), optimiser=AdamW(3e-3), average=0.9)
    list(train(stage, model, source, THREAT, **how))
    return weights_of(model)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["standard", "trades", "mart", "moco"])
@pytest.mark.parametrize("gamma", [0.0, 1e-30], ids=["none", "infinitesimal"])
def test_without_a_perturbation_the_weights_are_those_of_the_objective(
    name: str, gamma: float, model: Classifier, source: Source
) -> None:
    """An infinitesimal gamma takes the whole way: two evaluations, and weights that rounding leaves."""
    plain = trained(OBJECTIVES[name], copy.deepcopy(model), source)
    assert equal(trained(AWP(OBJECTIVES[name], gamma, 0.0), copy.deepcopy(model), source), plain)
    assert not equal(trained(AWP(OBJECTIVES[name], 0.1, 0.0), copy.deepcopy(model), source), plain)


def test_the_same_seed_gives_the_same_bytes(model: Classifier, source: Source) -> None:
    objective = AWP(MART(attack=SHORT, views=LIGHT), gamma=0.05)
    found: list[dict[str, Tensor]] = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(found))
        found.append(trained(objective, copy.deepcopy(model), source, seed=seed))
    assert equal(found[0], found[1])
    assert not equal(found[0], found[2])


@pytest.mark.parametrize("name", ["mart", "moco"])
def test_a_stage_that_is_resumed_ends_with_the_same_bytes(
    name: str, model: Classifier, source: Source, tmp_path: Path
) -> None:
    objective = AWP(OBJECTIVES[name], gamma=0.05, warmup=0.3)
    whole = trained(objective, copy.deepcopy(model), source, seed=5)
    stage = Stage("s", objective, Budget.parse("2epochs"), optimiser=AdamW(3e-3), average=0.9)
    for after in (1, 4, 7):  # before and after the warm-up ends
        steps = train(stage, copy.deepcopy(model), source, THREAT, seed=5)
        for _ in range(after):
            next(steps)
        write_snapshot(steps.snapshot(), tmp_path / "snapshot")
        steps.close()
        start = read_snapshot(tmp_path / "snapshot")
        assert equal(trained(objective, copy.deepcopy(model), source, seed=5, start=start), whole)


# The value


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_description_holds_the_objective_and_comes_back(name: str) -> None:
    objective = AWP(OBJECTIVES[name], gamma=0.01, warmup=0.2)
    described = describe(objective)
    assert isinstance(described, dict)
    assert described["kind"] == "harden.objectives:AWP"
    assert restore(described) == objective
    assert without_wrappers(objective) == OBJECTIVES[name] == without_wrappers(AWP(objective))
    assert objective.class_weights == getattr(OBJECTIVES[name], "class_weights", ())


def test_the_objective_s_own_check_is_made(model: Classifier) -> None:
    AWP(TRADES()).check(model, (1, 6, 6), L2("1/2"))
    with pytest.raises(InputError, match="certified training against L2"):
        AWP(IBP()).check(model, (1, 6, 6), L2("1/2"))


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda: AWP(TRADES(), gamma=-0.1), r"a gamma of -0\.1"),
        (lambda: AWP(TRADES(), gamma=math.nan), "a gamma of nan"),
        (lambda: AWP(TRADES(), gamma=math.inf), "a gamma of inf"),
        (lambda: AWP(TRADES(), warmup=-0.1), r"a warm-up of -0\.1"),
        (lambda: AWP(TRADES(), warmup=1.1), r"a warm-up of 1\.1"),
        (lambda: AWP(TRADES(), warmup=math.nan), "a warm-up of nan"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], object], seen: str) -> None:
    with pytest.raises(InputError, match=rf"{seen}; expected .*; write AWP\(objective, "):
        make()


def test_the_state_is_the_objective_s_own(model: Classifier) -> None:
    assert classifier_of(AWP(TRADES()).start(model, 12)) is model
