"""Free adversarial training against the paper's algorithm in plain torch, its state, and its replays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.data import Batch, Source, from_loader
from harden.draws import mix
from harden.errors import InputError
from harden.models import Classifier
from harden.models.snapshot import put_tensors, read_snapshot, tensors_of, write_snapshot
from harden.objectives import (
    AWP,
    FreeAdversarialTraining,
    KeepsBatch,
    Objective,
    ReplaysBatches,
    Standard,
    Step,
    UpdatesWithStep,
)
from harden.objectives.fast_adversarial.free import ReplayState
from harden.objectives.objective import ClassifierState
from harden.threats import L1, L2, ChannelLinf, Linf, Threat
from harden.training import SGD, Budget, Stage, train
from harden.training.guards import stage_guards
from harden.training.guards.catastrophic_overfitting import AttackComparison
from harden.training.guards.guard_options import Guards
from harden.training.weights.weight_averaging import weights_of
from harden.views import Views
from tests.objectives.fast_adversarial.steep_network import SteepNetwork

EPS = 0.1


@pytest.fixture
def model(model: Classifier) -> Classifier:
    """Without dropout, so that z is one function of images and weights."""
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return model


@pytest.fixture
def source() -> Source:
    """44 images of three classes in batches of 10, the last one of 4."""
    x = torch.rand(44, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return from_loader((x, torch.arange(44) % 3), 10)


def state_of(model: Classifier, objective: FreeAdversarialTraining, n: int = 12) -> ReplayState:
    state = objective.start_on(model, (n, 1, 6, 6))
    assert isinstance(state, ReplayState)
    return state


def perturbation_of(state: ReplayState) -> Tensor:
    assert state.perturbation is not None
    return state.perturbation


def batches_of(sizes: list[int]) -> list[Batch]:
    generator = torch.Generator().manual_seed(5)
    return [
        Batch(torch.rand(n, 1, 6, 6, generator=generator), torch.arange(n) % 3, torch.arange(n))
        for n in sizes
    ]


def nearest(point: Tensor, x: Tensor) -> Tensor:
    """The projection onto ball and box, from its definition."""
    return torch.minimum(torch.maximum(point, x - EPS), x + EPS).clamp(0, 1)


@pytest.mark.parametrize(
    "objective",
    [
        FreeAdversarialTraining(replays=3),
        FreeAdversarialTraining(replays=2, step_size=0.4, label_smoothing=0.2, class_weights=(1.0, 0.5, 2.0)),
    ],
    ids=["defaults", "other numbers"],
)
def test_follows_the_paper_over_batches_and_replays(
    model: Classifier, step: Step, objective: FreeAdversarialTraining
) -> None:
    batches = batches_of([12, 12, 5, 12])
    hand = copy.deepcopy(model).train()
    d = torch.zeros(12, 1, 6, 6)
    state = state_of(model, objective).train()
    number = 0
    for batch in batches:
        for _ in range(objective.replays):
            # By hand: one forward and one backward, then both move.
            n = len(batch)
            point = nearest(batch.x + d[:n], batch.x).requires_grad_()
            log_p = hand.logits(point).log_softmax(1)
            smooth = objective.label_smoothing
            target = (1 - smooth) * functional.one_hot(batch.y, 3) + smooth / 3
            weight = torch.tensor(objective.class_weights or (1.0, 1.0, 1.0))[batch.y]
            expected = (weight * -(target * log_p).sum(1)).sum() / weight.sum()
            hand.zero_grad()
            torch.autograd.backward(expected)
            assert point.grad is not None
            moved = nearest(point.detach() + objective.step_size * EPS * point.grad.sign(), batch.x)
            d[:n] = moved - batch.x
            descend(hand)
            # The objective.
            at = replace(step, number=number)
            value = objective(state, batch, at)
            torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)
            model.zero_grad()
            torch.autograd.backward(value)
            descend(model)
            state.after_step(at)
            torch.testing.assert_close(perturbation_of(state), d, atol=1e-5, rtol=0)
            number += 1
    assert bool(d[5:].any())


@torch.no_grad()
def descend(model: Classifier) -> None:
    """A step on the signs, which small differences of the gradient leave as they are."""
    for weight in model.parameters():
        assert weight.grad is not None
        weight.sub_(0.003 * weight.grad.sign())


def test_the_gradient_of_the_weights_is_that_of_the_loss_at_fixed_images(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = FreeAdversarialTraining()
    state = state_of(model, objective).train()
    state.perturbation = 0.05 * torch.randn(12, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    x_adv = nearest(batch.x + state.perturbation, batch.x)
    other = copy.deepcopy(model).train()
    torch.autograd.backward(objective(state, batch, step))
    torch.autograd.backward(functional.cross_entropy(other.logits(x_adv), batch.y))
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    for name, statistic in other.named_buffers():
        torch.testing.assert_close(model.get_buffer(name), statistic)  # those of one forward


THREATS: list[Threat] = [Linf("0.1"), ChannelLinf(("0.1",)), L2("1/2"), L1("2")]


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_every_point_lies_in_ball_and_box_also_when_eps_rises_and_falls(
    model: Classifier, step: Step, threat: Threat, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    original = model.logits

    def logits(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return original(x)

    monkeypatch.setattr(model, "logits", logits)
    objective = FreeAdversarialTraining()
    state = state_of(model, objective).train()
    farthest = 0.0
    for number, (share, batch) in enumerate(zip((0, 0.1, 1, 1, 0.3, 0), batches_of([12] * 6), strict=True)):
        at = replace(step, number=number, threat=threat.scaled(share))
        torch.autograd.backward(objective(state, batch, at))
        state.after_step(at)
        assert bool(at.threat.contains(seen[-1], batch.x).all())
        farthest = max(farthest, float(threat.size(seen[-1] - batch.x).max()))
    assert torch.equal(seen[-1], batch.x)
    assert farthest > 0.3 * float(threat.eps)


def test_a_batch_that_is_larger_than_the_others_starts_its_last_images_at_themselves(
    model: Classifier, step: Step
) -> None:
    objective = FreeAdversarialTraining()
    state = state_of(model, objective, 5).train()
    state.perturbation = torch.full((5, 1, 6, 6), 0.05)
    (batch,) = batches_of([8])
    point = state.begin(batch.x, step.threat)
    assert bool((point[:5] > batch.x[:5]).any())
    assert torch.equal(point[5:].detach(), batch.x[5:])
    torch.autograd.backward(objective(state, batch, step))
    state.after_step(step)
    assert perturbation_of(state).shape == (5, 1, 6, 6)


def test_the_shape_may_be_that_of_the_first_batch(model: Classifier, batch: Batch, step: Step) -> None:
    objective = FreeAdversarialTraining()
    found = []
    for state in (objective.start(copy.deepcopy(model), 100), objective.start_on(model, (12, 1, 6, 6))):
        assert isinstance(state, ReplayState)
        torch.autograd.backward(objective(state.train(), batch, step))
        state.after_step(step)
        found.append(perturbation_of(state))
    assert torch.equal(*found)


def test_entries_of_the_gradient_that_are_not_finite_take_no_step(batch: Batch, step: Step) -> None:
    objective = FreeAdversarialTraining()
    state = state_of(Classifier(SteepNetwork()), objective)
    torch.autograd.backward(objective(state, batch, step))
    state.after_step(step)
    assert bool(perturbation_of(state).isfinite().all())
    assert not perturbation_of(state).flatten(1)[:, 3:].any()


def test_a_step_whose_gradient_does_not_reach_the_images_is_refused(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = FreeAdversarialTraining()
    state = state_of(model, objective).train()
    assert isinstance(state, UpdatesWithStep)
    torch.autograd.grad(objective(state, batch, step), list(model.parameters()))
    with pytest.raises(InputError, match=r"without a gradient of its images; expected loss\.backward"):
        state.after_step(step)
    with pytest.raises(InputError, match=r"AWP around FreeAdversarialTraining, which .*; write AWP\("):
        AWP(objective)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FreeAdversarialTraining(replays=0), "0 replays"),
        (lambda: FreeAdversarialTraining(replays=1.5), "1.5 replays"),  # type: ignore[arg-type]  # a mistake
        (lambda: FreeAdversarialTraining(step_size=0.0), "step size 0.0"),
        (lambda: FreeAdversarialTraining(step_size=float("inf")), "step size inf"),
        (lambda: FreeAdversarialTraining(class_weights=(-1.0, 1.0)), "class weights (-1.0, 1.0)"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert says in caught.value.seen
    assert caught.value.instead.startswith("write ")


def test_another_objective_s_state_is_refused(model: Classifier, batch: Batch, step: Step) -> None:
    with pytest.raises(TypeError, match="FreeAdversarialTraining runs on what its start"):
        FreeAdversarialTraining()(ClassifierState(model), batch, step)


# In the training loop


@dataclass
class Watched:
    """Notes the images and the random numbers of each step; not a value of harden's own."""

    replays: int
    ids: list[list[int]] = field(default_factory=list)
    views: list[Tensor] = field(default_factory=list)

    def start(self, model: Classifier, n: int) -> nn.Module:
        return ClassifierState(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        self.ids.append(batch.index.tolist())
        self.views.append(torch.rand(3, generator=step.generator))
        return Standard()(state, batch, step)


def stage_of(objective: Objective, budget: str = "6epochs", **how: Any) -> Stage:
    return Stage("s", objective, Budget.parse(budget), optimiser=SGD(0.05), ramp=0.5, **how)


def test_the_loop_passes_each_batch_so_often_in_a_row_with_the_same_views(
    model: Classifier, source: Source
) -> None:
    once, thrice = Watched(1), Watched(3)
    list(train(stage_of(once, "2epochs"), copy.deepcopy(model), source, Linf("0.1"), seed=3))
    records = list(train(stage_of(thrice, "6epochs"), model, source, Linf("0.1"), seed=3))
    assert thrice.ids == [ids for ids in once.ids for _ in range(3)]
    assert sorted(one for ids in once.ids[:5] for one in ids) == list(range(44))
    for number, drawn in enumerate(thrice.views):
        assert torch.equal(drawn, once.views[number // 3])
    assert not torch.equal(once.views[0], once.views[1])
    assert records[-1].examples == 6 * 44


def test_an_epoch_of_the_budget_is_a_pass_for_each_image(model: Classifier, source: Source) -> None:
    objective = FreeAdversarialTraining(replays=2)
    assert isinstance(objective, ReplaysBatches)
    assert isinstance(objective, KeepsBatch)
    *_, last = train(stage_of(objective, "4epochs"), model, source, Linf("0.1"))
    assert last.passes == pytest.approx(4.0)
    assert last.step == 20


@pytest.mark.parametrize("views", [None, Views(shift=1, noise=0.05)], ids=["plain", "views"])
def test_a_stage_that_is_resumed_inside_the_replays_ends_with_the_same_bytes(
    model: Classifier, source: Source, tmp_path: Path, views: Views | None
) -> None:
    stage = stage_of(FreeAdversarialTraining(replays=4, views=views), average=0.9)
    whole = copy.deepcopy(model)
    records = list(train(stage, whole, source, Linf("0.1"), seed=5))
    assert len(records) == 29
    for after in (
        1,
        2,
        4,
        7,
        19,
        20,
        21,
        27,
    ):  # within the replays of a batch, at their end, of the small one
        first = train(stage, copy.deepcopy(model), source, Linf("0.1"), seed=5)
        for _ in range(after):
            next(first)
        write_snapshot(first.snapshot(), tmp_path / "snapshot")
        first.close()
        start = read_snapshot(tmp_path / "snapshot")
        assert bool(start.tensors["state.perturbation"].any()) == (after > 1)
        again = copy.deepcopy(model)
        rest = list(train(stage, again, source, Linf("0.1"), seed=5, start=start))
        assert [one.loss for one in rest] == [one.loss for one in records[after:]]
        mine, theirs = weights_of(again), weights_of(whole)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("after", [5, 9, 14])
def test_a_stage_that_a_guard_made_stronger_is_resumed_to_the_same_bytes(
    model: Classifier, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The batches still come as often in a row, now to adversarial training by PGD."""

    def found(
        objective: Objective, model: Classifier, batch: Batch, threat: Any, seed: int
    ) -> AttackComparison:
        free = isinstance(objective, FreeAdversarialTraining)
        return AttackComparison(60, 1 if free and seed == mix(mix(5, 5), 7) else 59, 64)

    monkeypatch.setattr(stage_guards, "compare", found)
    monkeypatch.setattr(stage_guards, "largest_cost", lambda objective, images: 0.0)
    stage = stage_of(FreeAdversarialTraining(replays=3), average=0.9, guards=Guards(checks=100))
    whole = copy.deepcopy(model)
    records = list(train(stage, whole, source, Linf("0.1"), seed=5))
    assert [record.step for record in records if record.event] == [8]
    first = train(stage, copy.deepcopy(model), source, Linf("0.1"), seed=5)
    for _ in range(after):
        next(first)
    write_snapshot(first.snapshot(), tmp_path / "snapshot")
    first.close()
    again, start = copy.deepcopy(model), read_snapshot(tmp_path / "snapshot")
    rest = list(train(stage, again, source, Linf("0.1"), seed=5, start=start))
    assert [one.loss for one in rest] == [one.loss for one in records[after:]]
    mine, theirs = weights_of(again), weights_of(whole)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_the_state_of_a_checkpoint_holds_a_batch_and_no_more(model: Classifier) -> None:
    objective = FreeAdversarialTraining()
    state, again = state_of(model, objective), state_of(copy.deepcopy(model), objective)
    extra = tensors_of(state).keys() - {f"classifier.{name}" for name in tensors_of(model)}
    assert extra == {"perturbation"}
    state.perturbation = torch.rand(12, 1, 6, 6)
    put_tensors(again, tensors_of(state))
    assert torch.equal(perturbation_of(again), state.perturbation)


def test_flags_and_modes_are_restored(model: Classifier, source: Source) -> None:
    model.eval()
    list(train(stage_of(FreeAdversarialTraining(), "4epochs"), model, source, Linf("0.1")))
    assert not any(part.training for part in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
