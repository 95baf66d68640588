"""N-FGSM against its formula written out, and where its perturbation may lie."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import PGD
from harden.data import Batch
from harden.errors import InputError
from harden.kernels import backend
from harden.models import Classifier, FastCopy
from harden.objectives import FGSM_RS, NFGSM, AdversarialTraining, ChecksFirst, Step
from harden.threats import L1, L2, ChannelLinf, Linf
from harden.views import Views
from tests.objectives.fast_adversarial.steep_network import SteepNetwork


def without_dropout(model: Classifier) -> Classifier:
    model.network.get_submodule("5").p = 0.0  # type: ignore[assignment]  # the only dropout
    return model


def seen_by(model: Classifier, objective: NFGSM, batch: Batch, step: Step) -> tuple[Tensor, Tensor]:
    """The loss, and the images of the forward that it comes from."""
    state = objective.start(model, 12)
    seen: list[Tensor] = []
    original = model.logits

    def logits(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return original(x)

    object.__setattr__(model, "logits", logits)
    try:
        value = objective(state, batch, step)
    finally:
        object.__delattr__(model, "logits")
    return value, seen[-1]


def by_hand(model: Classifier, batch: Batch, step: Step, k: float, alpha: float, eps: Tensor) -> Tensor:
    """x' of the paper, pixel by pixel as tensors, from the same uniform numbers."""
    uniform = step.draws(batch.index).uniform(tuple(batch.x.shape[1:]))
    low, high = step.threat.bounds
    noisy = batch.x + k * eps * (2 * uniform - 1)
    start = torch.minimum(torch.maximum(noisy, torch.tensor(low)), torch.tensor(high))
    start.requires_grad_()
    mode = model.training
    loss = functional.cross_entropy(model.eval().logits(start), batch.y, reduction="sum")
    model.train(mode)
    (gradient,) = torch.autograd.grad(loss, start)
    moved = start.detach() + alpha * eps * torch.sign(gradient)
    return torch.minimum(torch.maximum(moved, torch.tensor(low)), torch.tensor(high))


@pytest.mark.parametrize(("k", "alpha"), [(2.0, 1.0), (1.0, 1.25), (0.0, 0.5), (3.0, 2.0)])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.5, 0.75)])
def test_is_the_cross_entropy_at_the_point_of_the_paper(
    model: Classifier, batch: Batch, step: Step, k: float, alpha: float, bounds: tuple[float, float]
) -> None:
    model = without_dropout(model).eval()
    at = replace(step, threat=Linf("0.1", bounds))
    images = Batch(batch.x.clamp(*bounds), batch.y, batch.index)
    value, x_adv = seen_by(model, NFGSM(k, alpha, steering=None), images, at)
    expected = by_hand(model, images, at, k, alpha, torch.tensor(0.1))
    torch.testing.assert_close(x_adv, expected, atol=1e-6, rtol=0)
    log_p = model.logits(expected).log_softmax(1)
    torch.testing.assert_close(value, -log_p[torch.arange(12), images.y].mean())


def test_leaves_the_ball_and_never_the_box(model: Classifier, batch: Batch, step: Step) -> None:
    _, x_adv = seen_by(without_dropout(model), NFGSM(), batch, step)
    apart = (x_adv - batch.x).abs()
    assert 0.2 < float(apart.max()) <= 0.3 + 1e-6
    assert not bool(step.threat.contains(x_adv, batch.x).any())
    assert float(x_adv.min()) >= 0.0
    assert float(x_adv.max()) <= 1.0
    assert bool(((x_adv == 0) | (x_adv == 1)).any())


def test_each_channel_has_its_own_budget(step: Step) -> None:
    torch.manual_seed(0)
    model = Classifier(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)))
    batch = Batch(torch.rand(6, 2, 6, 6), torch.arange(6) % 3, torch.arange(6))
    at = replace(step, threat=ChannelLinf(("0.1", "0.02")))
    _, x_adv = seen_by(model, NFGSM(steering=None), batch, at)
    expected = by_hand(model, batch, at, 2.0, 1.0, torch.tensor([0.1, 0.02]).view(1, 2, 1, 1))
    torch.testing.assert_close(x_adv, expected, atol=1e-6, rtol=0)
    apart = (x_adv - batch.x).abs()
    assert float(apart[:, 1].max()) <= 0.06 + 1e-6 < float(apart[:, 0].max())
    with pytest.raises(InputError, match="budgets for 3 channels; expected a budget for each channel"):
        NFGSM()(NFGSM().start(model, 6), batch, replace(step, threat=ChannelLinf(("0.1", "0.1", "0.1"))))


def test_an_eps_of_zero_is_plain_training(model: Classifier, batch: Batch, step: Step) -> None:
    model = without_dropout(model).eval()
    value, x_adv = seen_by(model, NFGSM(), batch, replace(step, threat=Linf(0)))
    assert torch.equal(x_adv, batch.x)
    torch.testing.assert_close(value, functional.cross_entropy(model.logits(batch.x), batch.y))


def test_smoothing_and_weights_are_those_of_adversarial_training(
    model: Classifier, batch: Batch, step: Step
) -> None:
    model = without_dropout(model).eval()
    objective = NFGSM(label_smoothing=0.3, class_weights=(0.5, 0.0, 2.5))
    value, x_adv = seen_by(model, objective, batch, step)
    log_p = model.logits(x_adv).log_softmax(1)
    target = 0.7 * functional.one_hot(batch.y, 3) + 0.1
    weight = torch.tensor([0.5, 0.0, 2.5])[batch.y]
    torch.testing.assert_close(value, (weight * -(target * log_p).sum(1)).sum() / weight.sum())
    plain, same = seen_by(model, NFGSM(), batch, step)
    assert torch.equal(same, x_adv)  # the attack knows of neither
    assert not torch.equal(plain, value)


def test_noise_depends_on_seed_step_and_example_and_not_on_the_batch(
    model: Classifier, batch: Batch, step: Step
) -> None:
    model = without_dropout(model).eval()
    objective = NFGSM(step_size=1e-6, steering=None)  # what is seen is the noise
    reverse = torch.arange(11, -1, -1)
    turned = Batch(batch.x[reverse], batch.y[reverse], batch.index[reverse])
    part = Batch(batch.x[3:5], batch.y[3:5], batch.index[3:5])
    _, found = seen_by(model, objective, batch, step)
    _, again = seen_by(model, objective, batch, step)
    assert torch.equal(found, again)
    _, backwards = seen_by(model, objective, turned, step)
    torch.testing.assert_close(backwards[reverse], found, atol=1e-6, rtol=0)
    _, few = seen_by(model, objective, part, step)
    torch.testing.assert_close(few, found[3:5], atol=1e-6, rtol=0)
    for other in (replace(step, number=1), replace(step, seed=4)):
        _, apart = seen_by(model, objective, batch, other)
        assert float((apart - found).abs().max()) > 0.1


def test_the_attack_leaves_modes_statistics_and_gradients_alone(
    model: Classifier, batch: Batch, step: Step
) -> None:
    norm = model.network.get_submodule("1")
    state = NFGSM().start(model, 12).train()
    value = NFGSM()(state, batch, step)
    assert int(norm.num_batches_tracked) == 1  # type: ignore[arg-type]  # of the objective's own forward
    assert all(part.training for part in model.modules())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    torch.autograd.backward(value)
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("steering", [FastCopy(), FastCopy(bfloat16=True), None], ids=str)
def test_trains_under_views_with_each_form_of_the_copy(
    model: Classifier, batch: Batch, step: Step, steering: FastCopy | None
) -> None:
    objective = NFGSM(views=Views(flip=1.0), steering=steering)
    _, x_adv = seen_by(model, objective, batch, step)
    assert float((x_adv - batch.x.flip(3)).abs().max()) <= 0.3 + 1e-6
    assert float((x_adv - batch.x).abs().max()) > 0.3
    names = objective.start(model, 12).state_dict()
    assert all(name.startswith("classifier.") for name in names)


def test_entries_of_the_gradient_that_are_not_finite_take_no_step(batch: Batch, step: Step) -> None:
    model = Classifier(SteepNetwork())
    images = Batch(batch.x, batch.y % 2, batch.index)
    _, x_adv = seen_by(model, NFGSM(noise=0.0, steering=None), images, step)
    assert bool(x_adv.isfinite().all())
    assert torch.equal(x_adv.flatten(1)[:, 3:], images.x.flatten(1)[:, 3:])


@pytest.mark.parametrize("threat", [L2("0.5"), L1("3")], ids=str)
def test_another_norm_is_refused_before_training(
    model: Classifier, batch: Batch, step: Step, threat: Any
) -> None:
    objective = NFGSM()
    assert isinstance(objective, ChecksFirst)
    objective.check(model, (1, 6, 6), Linf("0.1"))
    objective.check(model, (1, 6, 6), ChannelLinf(("0.1",)))
    for call in (
        lambda: objective.check(model, (1, 6, 6), threat),
        lambda: objective(objective.start(model, 12), batch, replace(step, threat=threat)),
    ):
        with pytest.raises(InputError, match=r"N-FGSM against L.*; expected an L-inf threat.*write Linf"):
            call()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: NFGSM(noise=-1.0), "noise -1.0"),
        (lambda: NFGSM(noise=float("nan")), "noise nan"),
        (lambda: NFGSM(noise=float("inf")), "noise inf"),
        (lambda: NFGSM(step_size=0.0), "step size 0.0"),
        (lambda: NFGSM(step_size=float("nan")), "step size nan"),
        (lambda: NFGSM(step_size=float("inf")), "step size inf"),
        (lambda: NFGSM(class_weights=(-1.0, 1.0)), "class weights (-1.0, 1.0)"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], NFGSM], says: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert says in caught.value.seen
    assert caught.value.instead.startswith("write ")


SCRIPT = """
import hashlib, torch
from torch import nn
from harden.data import Batch
from harden.kernels import backend
from harden.models import Classifier
from harden.objectives import LIET, NFGSM, FreeAdversarialTraining, PriorGuidedFGSM, Step, UpdatesWithStep
from harden.threats import Linf

torch.set_num_threads(1)
torch.manual_seed(0)
model = Classifier(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)))
batch = Batch(torch.rand(16, 3, 8, 8), torch.arange(16) % 4, torch.arange(16))
found = hashlib.sha256()
for objective in (NFGSM(), PriorGuidedFGSM(), LIET(), FreeAdversarialTraining()):
    state = objective.start(model, 16)
    for number in range(3):
        step = Step(number, 0.5, Linf("8/255"), 3, torch.Generator())
        value = objective(state, batch, step)
        found.update(value.detach().numpy().tobytes())
        torch.autograd.backward(value)
        if isinstance(state, UpdatesWithStep):
            state.after_step(step)
    for value in state.buffers():
        found.update(value.numpy().tobytes())
print(backend().name, found.hexdigest())
"""


def test_both_backends_train_on_the_same_bytes() -> None:
    if backend().name != "native":
        pytest.skip(f"needs the compiled library: {backend().reason}")
    said = []
    for native in ("1", "0"):
        environment = {**os.environ, "HARDEN_NATIVE": native}
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        said.append(ran.stdout.split())
    assert [name for name, _ in said] == ["native", "torch"]
    assert said[0][1] == said[1][1]


def test_fgsm_rs_is_one_step_from_a_uniform_start_projected_onto_the_ball(
    model: Classifier, batch: Batch, step: Step
) -> None:
    model = without_dropout(model).eval()
    assert PGD(steps=1, step_size=1.25, random_start=True, keep_best=False) == FGSM_RS
    start = step.threat.start(batch.x, step.draws(batch.index).fold(0)).requires_grad_()
    loss = functional.cross_entropy(model.logits(start), batch.y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, start)
    moved = start.detach() + 0.125 * gradient.sign()
    expected = batch.x + (moved - batch.x).clamp(-0.1, 0.1)
    objective = AdversarialTraining(FGSM_RS, steering=None)
    value = objective(objective.start(model, 12), batch, step)
    torch.testing.assert_close(
        value, functional.cross_entropy(model.logits(expected.clamp(0, 1)), batch.y), atol=1e-5, rtol=1e-5
    )
