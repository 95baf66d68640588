"""FGSM-PGI against the paper's formulas in plain torch, its state, and its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.data import Batch
from harden.errors import InputError
from harden.models import Classifier
from harden.models.snapshot import put_tensors, tensors_of
from harden.objectives import ChecksFirst, KeepsImages, PriorGuidedFGSM, Step
from harden.objectives.fast_adversarial.prior_guided import PriorState
from harden.threats import L1, L2, ChannelLinf, Linf
from tests.objectives.fast_adversarial.steep_network import SteepNetwork

EPS = 0.1
ITSELF = PriorGuidedFGSM(steering=None)


@pytest.fixture
def batch() -> Batch:
    """Twelve of twenty images, with positions that are not their order."""
    x = torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    return Batch(x, torch.arange(12) % 3, torch.arange(19, 7, -1))


@pytest.fixture
def model(model: Classifier) -> Classifier:
    """In inference mode, so that z is one function throughout."""
    return model.eval()


def state_of(model: Classifier, objective: PriorGuidedFGSM, n: int = 20) -> PriorState:
    state = objective.start_with(model, n, (1, 6, 6))
    assert isinstance(state, PriorState)
    return state.eval()


def prior_of(state: PriorState) -> Tensor:
    assert state.prior is not None
    return state.prior


def nearest(point: Tensor, x: Tensor, eps: float = EPS) -> Tensor:
    """The projection onto ball and box, from its definition."""
    return torch.minimum(torch.maximum(point, x - eps), x + eps).clamp(0, 1)


@dataclass
class ByHand:
    """The objective in plain torch, an image at a time, on numbers of its own."""

    model: Classifier
    prior: Tensor
    momentum: Tensor
    objective: PriorGuidedFGSM

    def loss(self, batch: Batch) -> Tensor:
        terms = []
        how = self.objective
        for x, y, place in zip(batch.x, batch.y, batch.index.tolist(), strict=True):
            start = nearest(x + self.prior[place], x).requires_grad_()
            before = self.model.logits(start[None])
            (g,) = torch.autograd.grad(functional.cross_entropy(before, y[None]), start)
            x_adv = nearest(start.detach() + how.step_size * EPS * g.sign(), x)
            self.momentum[place] = how.decay * self.momentum[place] + g / g.abs().sum()
            follows = nearest(start.detach() + how.step_size * EPS * self.momentum[place].sign(), x) - x
            self.prior[place] = follows.half().float()
            after, before = self.model.logits(x_adv[None])[0], self.model.logits(start.detach()[None])[0]
            entropy = after.exp().sum().log() - after[y]
            terms.append(entropy + how.weight * (after - before).square().sum() / len(after))
        return torch.stack(terms).mean()


@pytest.mark.parametrize(
    "objective",
    [
        ITSELF,
        PriorGuidedFGSM(weight=0.5, step_size=0.6, decay=0.8, steering=None),
        PriorGuidedFGSM(weight=0.0, decay=0.0, step_size=1.25, steering=None),
    ],
    ids=["defaults", "other numbers", "the last epoch alone"],
)
def test_follows_the_paper_over_epochs(
    model: Classifier, batch: Batch, step: Step, objective: PriorGuidedFGSM
) -> None:
    state = state_of(model, objective)
    prior = torch.zeros(20, 1, 6, 6)
    signs = (step.draws(batch.index).uniform((1, 6, 6)) - 0.5).sign()
    prior[batch.index] = nearest(batch.x + EPS * signs, batch.x) - batch.x
    hand = ByHand(model, prior, torch.zeros(20, 1, 6, 6), objective)
    for number in range(4):
        value = objective(state, batch, replace(step, number=number))
        torch.testing.assert_close(value, hand.loss(batch), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            prior_of(state)[batch.index].float(), hand.prior[batch.index], atol=1e-4, rtol=0
        )
        torch.autograd.backward(value)
        with torch.no_grad():
            for weight in model.parameters():
                weight.sub_(0.003 * weight.grad.sign())  # type: ignore[union-attr]  # all have one
                weight.grad = None
    # The eight images that were not seen have no prior yet.
    assert not prior_of(state)[:8].any()
    assert state.visits.tolist() == [0] * 8 + [4] * 12


def test_the_gradient_goes_through_both_logits_of_the_regulariser(
    model: Classifier, batch: Batch, step: Step
) -> None:
    found = []
    for weight in (0.0, 2.0):
        objective = PriorGuidedFGSM(weight=weight, steering=None)
        torch.autograd.backward(objective(state_of(model, objective), batch, step))
        found.append([each.grad.clone() for each in model.parameters()])  # type: ignore[union-attr]  # all have one
        model.zero_grad()
    state = state_of(model, ITSELF)
    threat, draws = step.threat, step.draws(batch.index)
    start = state.begin(batch.x, batch.index, threat, draws).requires_grad_()
    (g,) = torch.autograd.grad(functional.cross_entropy(model.logits(start), batch.y), start)
    x_adv = nearest(start.detach() + EPS * g.sign(), batch.x)
    apart = (model.logits(x_adv) - model.logits(start.detach())).square().mean()
    expected = torch.autograd.grad(2.0 * apart, list(model.parameters()))
    for plain, regularised, one in zip(*found, expected, strict=True):
        torch.testing.assert_close(regularised - plain, one, atol=1e-5, rtol=1e-3)
    assert any(one.any() for one in expected)


def test_smoothing_and_weights_of_classes(model: Classifier, batch: Batch, step: Step) -> None:
    objective = PriorGuidedFGSM(label_smoothing=0.3, class_weights=(0.5, 0.0, 2.5), steering=None)
    value = objective(state_of(model, objective), batch, step)
    state = state_of(model, ITSELF)
    start = state.begin(batch.x, batch.index, step.threat, step.draws(batch.index)).requires_grad_()
    (g,) = torch.autograd.grad(functional.cross_entropy(model.logits(start), batch.y), start)
    after, before = model.logits(nearest(start.detach() + EPS * g.sign(), batch.x)), model.logits(start)
    target = 0.7 * functional.one_hot(batch.y, 3) + 0.1
    each = -(target * after.log_softmax(1)).sum(1) + 10.0 * (after - before).square().mean(1)
    weight = torch.tensor([0.5, 0.0, 2.5])[batch.y]
    torch.testing.assert_close(value, (weight * each).sum() / weight.sum(), atol=1e-4, rtol=1e-4)


def test_every_point_lies_in_ball_and_box_also_when_eps_rises_and_falls(
    model: Classifier, batch: Batch, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    original = model.logits

    def logits(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return original(x)

    monkeypatch.setattr(model, "logits", logits)
    state = state_of(model, PriorGuidedFGSM())
    for number, eps in enumerate(("0", "0.01", "0.1", "1/3", "8/255", "0")):
        threat = Linf(eps)
        value = PriorGuidedFGSM()(state, batch, replace(step, number=number, threat=threat))
        assert bool(value.isfinite())
        both = seen[-1]
        assert len(both) == 24
        assert bool(threat.contains(both, torch.cat((batch.x, batch.x))).all())
    assert torch.equal(seen[-1], torch.cat((batch.x, batch.x)))


def test_each_channel_has_its_own_budget(step: Step) -> None:
    torch.manual_seed(0)
    model = Classifier(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)))
    batch = Batch(0.3 + 0.4 * torch.rand(6, 2, 6, 6), torch.arange(6) % 3, torch.arange(6))
    threat = ChannelLinf(("0.1", "0.02"))
    state = ITSELF.start(model, 6)
    assert isinstance(state, PriorState)
    ITSELF(state, batch, replace(step, threat=threat))
    largest = prior_of(state).float().abs().amax((0, 2, 3))
    torch.testing.assert_close(largest, torch.tensor([0.1, 0.02]), atol=1e-4, rtol=0)


def test_a_prior_is_drawn_anew_after_so_many_epochs_of_its_image(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = PriorGuidedFGSM(redraw=2)
    state = state_of(model, objective)
    part = Batch(batch.x[:4], batch.y[:4], batch.index[:4])
    objective(state, part, step)  # these four are one epoch ahead
    starts = []
    for number in range(1, 4):
        at = replace(step, number=number)
        starts.append(state.begin(batch.x, batch.index, at.threat, at.draws(batch.index)) - batch.x)
        objective(state, batch, at)
    corners = [
        nearest(batch.x + EPS * signs(replace(step, number=k), batch), batch.x) - batch.x for k in (1, 2, 3)
    ]
    fresh = [
        [bool((a - b).abs().max() < 1e-6) for a, b in zip(*pair, strict=True)]
        for pair in zip(starts, corners, strict=True)
    ]
    assert fresh == [[False] * 4 + [True] * 8, [True] * 4 + [False] * 8, [False] * 4 + [True] * 8]


def signs(step: Step, batch: Batch) -> Tensor:
    return (step.draws(batch.index).uniform((1, 6, 6)) - 0.5).sign()


def test_an_image_s_prior_depends_on_itself_and_not_on_its_batch(
    model: Classifier, batch: Batch, step: Step
) -> None:
    found = []
    reverse = torch.arange(11, -1, -1)
    turned = Batch(batch.x[reverse], batch.y[reverse], batch.index[reverse])
    parts = [Batch(batch.x[rows], batch.y[rows], batch.index[rows]) for rows in torch.arange(12).chunk(3)]
    for batches in ([batch], [turned], parts):
        state = state_of(model, PriorGuidedFGSM(steering=None))
        for number in range(2):
            for each in batches:
                ITSELF(state, each, replace(step, number=number))
        found.append(prior_of(state).float())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-4, rtol=0)
    assert bool(found[0].any())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(
    model: Classifier, batch: Batch, step: Step
) -> None:
    found = []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)
        state = state_of(model, PriorGuidedFGSM())
        value = PriorGuidedFGSM()(state, batch, replace(step, seed=seed))
        found.append([value.detach(), *(each.clone() for each in state.buffers())])
    assert all(torch.equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not torch.equal(found[0][0], found[2][0])


def test_the_state_of_a_checkpoint_continues_to_the_same_bytes(
    model: Classifier, batch: Batch, step: Step
) -> None:
    objective = PriorGuidedFGSM(redraw=3)
    state = state_of(model, objective)
    for number in range(2):
        objective(state, batch, replace(step, number=number))
    kept = {name: value.clone() for name, value in tensors_of(state).items()}
    assert {"prior", "momentum", "visits"} <= kept.keys()
    again = state_of(model, objective)
    put_tensors(again, kept)
    for number in range(2, 5):
        at = replace(step, number=number)
        assert torch.equal(objective(state, batch, at), objective(again, batch, at))
    assert all(torch.equal(value, tensors_of(again)[name]) for name, value in tensors_of(state).items())


def test_its_tensors_are_float16_and_as_many_as_it_says(model: Classifier) -> None:
    assert isinstance(ITSELF, KeepsImages)
    for objective, tensors in ((ITSELF, 2), (PriorGuidedFGSM(decay=0.0), 1)):
        state = state_of(model, objective)
        held = [each for each in (state.prior, state.momentum) if each is not None]
        assert [each.dtype for each in held] == [torch.float16] * tensors
        size = sum(each.numel() * each.element_size() for each in held)
        assert size == tensors * 2 * 20 * 36
        objective.check_size(20, (1, 6, 6))
        exact = replace(objective, memory_limit=size)
        exact.check_size(20, (1, 6, 6))
        with pytest.raises(
            InputError, match=f"21 training images of shape.*take {tensors * 2 * 21 * 36:,} bytes"
        ):
            exact.check_size(21, (1, 6, 6))


def test_more_images_than_memory_are_refused_without_making_a_tensor(model: Classifier) -> None:
    with pytest.raises(InputError) as caught:
        ITSELF.start_with(model, 10**6, (3, 224, 224))
    assert caught.value.seen == (
        "1,000,000 training images of shape (3, 224, 224), whose priors take 602,112,000,000 bytes"
    )
    assert caught.value.expected == "at most 4,294,967,296 bytes on the device"
    assert caught.value.instead.startswith("write PriorGuidedFGSM(memory_limit=602112000000), or NFGSM()")


def test_a_gradient_that_is_not_finite_leaves_no_trace_in_the_momentum(batch: Batch, step: Step) -> None:
    state = state_of(Classifier(SteepNetwork()), ITSELF)
    for number in range(3):
        assert bool(ITSELF(state, batch, replace(step, number=number)).isfinite())
    assert all(bool(each.isfinite().all()) for each in state.buffers())


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
        with pytest.raises(InputError, match=r"FGSM-PGI against L.*; expected an L-inf threat.*write Linf"):
            call()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PriorGuidedFGSM(weight=-1.0), "weight -1.0"),
        (lambda: PriorGuidedFGSM(weight=float("nan")), "weight nan"),
        (lambda: PriorGuidedFGSM(step_size=0.0), "step size 0.0"),
        (lambda: PriorGuidedFGSM(step_size=float("inf")), "step size inf"),
        (lambda: PriorGuidedFGSM(decay=1.0), "decay 1.0"),
        (lambda: PriorGuidedFGSM(decay=float("nan")), "decay nan"),
        (lambda: PriorGuidedFGSM(redraw=0), "after 0 epochs"),
        (lambda: PriorGuidedFGSM(class_weights=(0.0, 0.0)), "class weights (0.0, 0.0)"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], PriorGuidedFGSM], says: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert says in caught.value.seen
    assert caught.value.instead.startswith("write ")


def test_runs_on_its_own_state_alone(model: Classifier, batch: Batch, step: Step) -> None:
    with pytest.raises(TypeError, match="what its start"):
        ITSELF(nn.Linear(2, 2), batch, step)
