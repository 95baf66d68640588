"""LIET against the published program's formulas in plain torch, and its state."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.data import Batch, from_loader
from harden.draws import Draws
from harden.errors import InputError
from harden.models import Classifier, PassMeter, counting
from harden.models.snapshot import put_tensors, read_snapshot, tensors_of, write_snapshot
from harden.objectives import LIET, ChecksFirst, KeepsBatch, Step
from harden.objectives.fast_adversarial.label_information import LabelSignState, jensen_shannon, smoothed
from harden.objectives.objective import ClassifierState
from harden.threats import L1, L2, ChannelLinf, Linf
from harden.training import SGD, Budget, Stage, train
from harden.training.weights.weight_averaging import weights_of
from harden.views import Views

EPS = 0.1
ITSELF = LIET(steering=None)


@pytest.fixture
def model(model: Classifier) -> Classifier:
    """In inference mode, so that z is one function throughout."""
    return model.eval()


def state_of(model: Classifier, objective: LIET, shape: tuple[int, int, int] = (1, 6, 6)) -> LabelSignState:
    state = objective.start_on(model, (12, *shape))
    assert isinstance(state, LabelSignState)
    return state.eval()


def signs_of(state: LabelSignState) -> Tensor:
    assert state.signs is not None
    return state.signs


def seen_by(model: Classifier, objective: LIET, batch: Batch, step: Step) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, x' and x + s: what the pass that trains the weights sees."""
    seen: list[Tensor] = []
    original = model.logits

    def logits(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return original(x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "logits", logits)
        channels, height, width = batch.x.shape[1:]
        value = objective(state_of(model, objective, (channels, height, width)), batch, step)
    x_adv, start = seen[-1].chunk(2)
    return value, x_adv, start


def nearest(point: Tensor, x: Tensor) -> Tensor:
    """The projection onto ball and box, from its definition."""
    return torch.minimum(torch.maximum(point, x - EPS), x + EPS).clamp(0, 1)


def soft(logits: Tensor, target: Tensor) -> Tensor:
    return -(target * logits.log_softmax(1)).sum(1)


# The start


def test_the_signs_are_those_of_the_gradient_at_the_grey_image(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = LIET(smoothing=0.0, steering=None)
    state = state_of(model, objective)
    assert not signs_of(state).any()
    objective(state, batch, step)
    for label in range(3):
        grey = torch.full((1, 1, 6, 6), 0.5, requires_grad=True)
        (g,) = torch.autograd.grad(-model.logits(grey).log_softmax(1)[0, label], grey)
        assert torch.equal(signs_of(state)[label].float(), g[0].sign())
    assert signs_of(state).dtype == torch.int8


def test_they_are_computed_anew_after_so_many_steps(model: Classifier, batch: Batch, step: Step) -> None:
    objective = LIET(refresh=3)
    state, found = state_of(model, objective), []
    for number in range(7):
        objective(state, batch, replace(step, number=number))
        found.append(signs_of(state).clone())
        with torch.no_grad():
            for weight in model.parameters():
                weight.neg_()
    changed = [not torch.equal(one, other) for one, other in zip(found[1:], found[:-1], strict=True)]
    assert changed == [False, False, True, False, False, True]


@pytest.mark.parametrize("size", [1, 2, 12])
def test_more_classes_than_images_are_computed_in_parts(size: int, step: Step) -> None:
    torch.manual_seed(0)
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 7), nn.Tanh(), nn.Linear(7, 30))).eval()
    batch = Batch(torch.rand(size, 1, 6, 6), torch.arange(size), torch.arange(size))
    state = state_of(model, ITSELF)
    ITSELF(state, batch, step)
    whole = state_of(model, ITSELF)
    ITSELF(whole, Batch(torch.rand(30, 1, 6, 6), torch.arange(30), torch.arange(30)), step)
    assert signs_of(state).shape == (30, 1, 6, 6)
    assert torch.equal(signs_of(state), signs_of(whole))


def test_without_masks_the_start_is_the_class_s_perturbation_or_its_negative(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = LIET(masked=(0.0, 0.0), steering=None)
    inner = Batch(0.2 + 0.6 * batch.x, batch.y, batch.index)
    sides: list[bool] = []
    for seed in range(4):
        at = replace(step, seed=seed)
        state = state_of(model, objective)
        objective(state, inner, at)
        _, _, start = seen_by(model, objective, inner, at)
        for moved, sign in zip(start - inner.x, signs_of(state)[inner.y].float(), strict=True):
            sides.append(bool((moved * sign).sum() > 0))
            expected = EPS * sign if sides[-1] else -EPS * sign
            torch.testing.assert_close(moved, expected, atol=1e-6, rtol=0)
    assert 12 < sum(sides) < 36


def test_masks_replace_a_share_of_the_entries_by_uniform_noise(step: Step) -> None:
    torch.manual_seed(0)
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3072, 3))).eval()
    batch = Batch(torch.full((50, 3, 32, 32), 0.5), torch.arange(50) % 3, torch.arange(50))
    _, _, start = seen_by(model, LIET(masked=(0.2, 0.6), noise=0.5, steering=None), batch, step)
    moved = (start - 0.5).abs().flatten(1) / EPS
    noisy = moved < 0.99
    shares = noisy.float().mean(1)
    assert bool(((shares > 0.17) & (shares < 0.63)).all())
    assert float(shares.min()) < 0.28
    assert float(shares.max()) > 0.52
    values = moved[noisy]
    assert float(values.max()) <= 0.5 + 1e-5
    assert abs(float(values.mean()) - 0.25) < 0.01


@pytest.mark.parametrize("project", [True, False])
def test_points_lie_in_the_box_and_where_they_are_projected_in_the_ball(
    model: Classifier, batch: Batch, step: Step, project: bool
) -> None:
    objective = LIET(noise=2.0, masked=(0.0, 1.0), project=project)
    for eps in ("0", "0.1", "1/3"):
        threat = Linf(eps)
        _, x_adv, start = seen_by(model, objective, batch, replace(step, threat=threat))
        for point in (x_adv, start):
            assert bool(((point >= 0) & (point <= 1)).all())
            assert bool(threat.contains(point, batch.x).all()) is (project or eps == "0")


def test_each_channel_has_its_own_budget(step: Step) -> None:
    torch.manual_seed(0)
    model = Classifier(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))).eval()
    batch = Batch(0.3 + 0.4 * torch.rand(6, 2, 6, 6), torch.arange(6) % 3, torch.arange(6))
    threat = ChannelLinf(("0.1", "0.02"))
    for project in (True, False):
        objective = LIET(project=project, masked=(0.0, 0.0))
        _, _, start = seen_by(model, objective, batch, replace(step, threat=threat))
        largest = (start - batch.x).abs().amax((0, 2, 3))
        torch.testing.assert_close(largest, torch.tensor([0.1, 0.02]), atol=1e-6, rtol=0)


# The loss


@pytest.mark.parametrize(
    "objective",
    [ITSELF, LIET(weight=3.0, smoothing=0.2, step_size=0.5, class_weights=(0.5, 0.0, 2.5), steering=None)],
    ids=["defaults", "other numbers"],
)
def test_follows_the_published_program(model: Classifier, batch: Batch, step: Step, objective: LIET) -> None:
    value, x_adv, start = seen_by(model, objective, batch, step)
    target = smoothed(batch.y, 3, objective.smoothing, step.draws(batch.index).fold(0))
    point = start.clone().requires_grad_()
    (g,) = torch.autograd.grad(soft(model.logits(point), target).sum(), point)
    expected = nearest(start + objective.step_size * EPS * g.sign(), batch.x)
    torch.testing.assert_close(x_adv, expected, atol=1e-6, rtol=0)
    p, q = model.logits(start).softmax(1), model.logits(x_adv).softmax(1)
    m = ((p + q) / 2).log()
    each = functional.kl_div(m, p, reduction="none").sum(1) + functional.kl_div(m, q, reduction="none").sum(1)
    losses = soft(model.logits(x_adv), target) + objective.weight * 0.5 * each / 2  # half of the budget
    weight = torch.tensor(objective.class_weights or (1.0, 1.0, 1.0))[batch.y]
    torch.testing.assert_close(value, (weight * losses).sum() / weight.sum(), atol=1e-4, rtol=1e-4)


def test_the_weight_of_the_divergence_rises_with_the_budget(
    model: Classifier, batch: Batch, step: Step
) -> None:
    values = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        value, _, _ = seen_by(model, ITSELF, batch, replace(step, progress=progress))
        values.append(float(value.detach()))
    plain, quarter, half, whole = values
    assert quarter > plain
    assert half - plain == pytest.approx(2 * (quarter - plain), rel=1e-3)
    assert whole - plain == pytest.approx(4 * (quarter - plain), rel=1e-3)


def test_the_gradient_goes_through_both_distributions(model: Classifier, batch: Batch, step: Step) -> None:
    weights = list(model.parameters())
    found = []
    for weight in (0.0, 2.0):
        objective = LIET(weight=weight, steering=None)
        value, x_adv, start = seen_by(model, objective, batch, step)
        found.append(torch.autograd.grad(value, weights))
    apart = jensen_shannon(model.logits(x_adv), model.logits(start)).mean()
    for plain, regularised, one in zip(*found, torch.autograd.grad(apart, weights), strict=True):
        torch.testing.assert_close(regularised - plain, one, atol=1e-5, rtol=1e-3)


def test_the_divergence_is_symmetric_bounded_and_finite_where_the_softmax_saturates() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 40, 5, generator=generator).mul_(4).double()
    p, q = one.softmax(1), other.softmax(1)
    m = (p + q) / 2
    expected = 0.5 * ((p * (p / m).log()).sum(1) + (q * (q / m).log()).sum(1))
    torch.testing.assert_close(jensen_shannon(one, other), expected)
    torch.testing.assert_close(jensen_shannon(one, other), jensen_shannon(other, one))
    assert not jensen_shannon(one, one).abs().max() > 1e-12
    far = torch.tensor([[200.0, 0.0]]).requires_grad_()
    value = jensen_shannon(far, -far.detach() + 200.0)
    assert float(value.detach()) == pytest.approx(math.log(2.0))
    (gradient,) = torch.autograd.grad(value.sum(), far)
    assert bool(gradient.isfinite().all())


def test_smoothing_moves_its_share_to_the_other_classes_in_random_proportions() -> None:
    y = torch.arange(400) % 5
    target = smoothed(y, 5, 0.6, Draws(3, torch.arange(400)))
    torch.testing.assert_close(target.sum(1), torch.ones(400))
    torch.testing.assert_close(target.gather(1, y[:, None]).squeeze(1), torch.full((400,), 0.4))
    others = target.masked_select(functional.one_hot(y, 5) == 0).view(400, 4)
    assert bool((others > 0).all())
    assert float((others.mean(0) - 0.15).abs().max()) < 0.01  # no class is preferred
    assert float(others.std(0).min()) > 0.05
    assert torch.equal(smoothed(y, 5, 0.0, Draws(3, torch.arange(400))), functional.one_hot(y, 5).float())
    two = smoothed(torch.tensor([0, 1]), 2, 0.6, Draws(3, torch.arange(2)))
    torch.testing.assert_close(two, torch.tensor([[0.4, 0.6], [0.6, 0.4]]))


# Randomness, cost and state


def test_an_image_s_points_depend_on_itself_and_not_on_its_batch(
    model: Classifier, batch: Batch, step: Step
) -> None:
    _, found, start = seen_by(model, ITSELF, batch, step)
    reverse = torch.arange(11, -1, -1)
    turned = Batch(batch.x[reverse], batch.y[reverse], batch.index[reverse])
    part = Batch(batch.x[3:5], batch.y[3:5], batch.index[3:5])
    _, backwards, _ = seen_by(model, ITSELF, turned, step)
    torch.testing.assert_close(backwards[reverse], found, atol=1e-6, rtol=0)
    _, few, _ = seen_by(model, ITSELF, part, step)
    torch.testing.assert_close(few, found[3:5], atol=1e-6, rtol=0)
    for other in (replace(step, number=1), replace(step, seed=4)):
        _, _, apart = seen_by(model, ITSELF, batch, other)
        assert not torch.equal(apart, start)


def test_costs_three_passes_for_each_image_and_one_for_each_class_where_signs_are_new(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = LIET(refresh=5)
    state = state_of(model, objective).train()
    for number, classes in ((0, 3), (1, 0), (4, 0), (5, 3)):
        with counting(PassMeter()) as meter:
            torch.autograd.backward(objective(state, batch, replace(step, number=number)))
        assert meter.passes == pytest.approx(12 * 3 + classes)


def test_the_attack_leaves_modes_statistics_and_gradients_alone(
    model: Classifier, batch: Batch, step: Step
) -> None:
    model.train()
    norm = model.network.get_submodule("1")
    state = LIET().start_on(model, (12, 1, 6, 6)).train()
    assert all(part.training for part in model.modules())
    LIET()(state, batch, step)
    assert int(norm.num_batches_tracked) == 1  # type: ignore[arg-type]  # of the objective's own forward
    assert all(part.training for part in model.modules())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


def test_views_come_before_the_attack(model: Classifier, batch: Batch, step: Step) -> None:
    _, x_adv, start = seen_by(model, LIET(views=Views(flip=1.0)), batch, step)
    for point in (x_adv, start):
        assert bool(step.threat.contains(point, batch.x.flip(3)).all())
        assert not bool(step.threat.contains(point, batch.x).any())


def test_the_shape_may_be_that_of_the_first_batch(model: Classifier, batch: Batch, step: Step) -> None:
    lazy = ITSELF.start(model, 12).eval()
    torch.testing.assert_close(ITSELF(lazy, batch, step), ITSELF(state_of(model, ITSELF), batch, step))
    assert isinstance(lazy, LabelSignState)
    assert signs_of(lazy).any()


def test_the_state_of_a_checkpoint_continues_to_the_same_bytes(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = LIET(refresh=3)
    assert isinstance(objective, KeepsBatch)
    state = state_of(model, objective)
    for number in range(2):
        objective(state, batch, replace(step, number=number))
    kept = {name: value.clone() for name, value in tensors_of(state).items()}
    again = state_of(model, objective)
    put_tensors(again, kept)
    for number in range(2, 5):
        at = replace(step, number=number)
        assert torch.equal(objective(state, batch, at), objective(again, batch, at))


def test_a_stage_that_is_resumed_ends_with_the_same_bytes(model: Classifier, tmp_path: Path) -> None:
    x = torch.rand(44, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    source = from_loader((x, torch.arange(44) % 3), 10)
    stage = Stage("s", LIET(refresh=4), Budget.parse("2epochs"), optimiser=SGD(0.05), average=0.9)
    whole = copy.deepcopy(model)
    records = list(train(stage, whole, source, Linf("0.1"), seed=5))
    for after in (1, 3, 4, 5, 9):
        first = train(stage, copy.deepcopy(model), source, Linf("0.1"), seed=5)
        for _ in range(after):
            next(first)
        write_snapshot(first.snapshot(), tmp_path / "snapshot")
        first.close()
        again = copy.deepcopy(model)
        start = read_snapshot(tmp_path / "snapshot")
        rest = list(train(stage, again, source, Linf("0.1"), seed=5, start=start))
        assert [one.loss for one in rest] == [one.loss for one in records[after:]]
        mine, theirs = weights_of(again), weights_of(whole)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


# Refusals


@pytest.mark.parametrize("threat", [L2("0.5"), L1("3")], ids=str)
def test_another_norm_is_refused_before_training(
    model: Classifier, batch: Batch, step: Step, threat: Any
) -> None:
    assert isinstance(ITSELF, ChecksFirst)
    ITSELF.check(model, (1, 6, 6), Linf("0.1"))
    for call in (
        lambda: ITSELF.check(model, (1, 6, 6), threat),
        lambda: ITSELF(state_of(model, ITSELF), batch, replace(step, threat=threat)),
    ):
        with pytest.raises(InputError, match=r"LIET against L.*; expected an L-inf threat.*write Linf"):
            call()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LIET(weight=-1.0), "weight -1.0"),
        (lambda: LIET(weight=float("nan")), "weight nan"),
        (lambda: LIET(noise=float("inf")), "noise inf"),
        (lambda: LIET(smoothing=1.0), "smoothing 1.0"),
        (lambda: LIET(step_size=0.0), "step size 0.0"),
        (lambda: LIET(masked=(0.5, 0.1)), "masked (0.5, 0.1)"),
        (lambda: LIET(masked=(0.5,)), "masked (0.5,)"),  # type: ignore[arg-type]  # a mistake
        (lambda: LIET(refresh=0), "a refresh every 0 steps"),
        (lambda: LIET(class_weights=(-1.0, 1.0)), "class weights (-1.0, 1.0)"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert says in caught.value.seen
    assert caught.value.instead.startswith("write ")


def test_another_objective_s_state_is_refused(model: Classifier, batch: Batch, step: Step) -> None:
    with pytest.raises(TypeError, match="LIET runs on what its start"):
        ITSELF(ClassifierState(model), batch, step)
