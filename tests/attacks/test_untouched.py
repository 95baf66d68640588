"""Attacks and evaluations leave the user's model as they found it, also when something raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harden.attacks import PGD
from harden.draws import Draws
from harden.evaluation import Attempt, evaluate
from harden.losses import CrossEntropy, LossFunction, Margin
from harden.models import Classifier, frozen
from harden.threats import L1, L2, Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

State = dict[str, object]


class Interrupted(Exception):
    """Stands for whatever may go wrong in a user's network or loss."""


def _state(model: nn.Module) -> State:
    """Everything about a model that an attack has been seen to change."""
    state: State = {}
    for name, part in model.named_modules():
        state[f"{name}: mode"] = part.training
        state[f"{name}: hooks"] = (len(part._forward_hooks), len(part._forward_pre_hooks))
    for name, weight in model.named_parameters():
        state[f"{name}: value"] = (weight.data_ptr(), weight.detach().clone().view(torch.int32).tolist())
        state[f"{name}: requires_grad"] = weight.requires_grad
        state[f"{name}: grad"] = None if weight.grad is None else (id(weight.grad), weight.grad.tolist())
    for name, buffer in model.named_buffers():
        state[f"{name}: buffer"] = buffer.tolist()
    return state


@pytest.fixture
def model(network: nn.Module) -> Classifier:
    """A user's model in the middle of training: mixed modes, a frozen weight, a gradient on some weights."""
    model = Classifier(network, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    head = model.head
    assert isinstance(head, nn.Linear)
    head.weight.grad = torch.full_like(head.weight, 0.25)
    return model


def test_the_watch_sees_what_it_is_there_to_see(model: Classifier, images: Tensor, labels: Tensor) -> None:
    """A plain attack loop on this model changes modes, statistics and gradients: the state must differ."""
    before = _state(model)
    rng = torch.get_rng_state()
    model.eval()
    assert _state(model) != before
    model.train()
    assert _state(model) != before  # the frozen BatchNorm is lost
    torch.autograd.backward(CrossEntropy(model.logits, labels)(images).sum())
    changed = {name.rpartition(": ")[2] for name, value in _state(model).items() if value != before[name]}
    assert changed == {"mode", "grad", "buffer"}
    torch.set_rng_state(rng)  # dropout drew


@pytest.mark.parametrize("attack", [PGD(steps=3, restarts=2), PGD(steps=2, keep_best=False)])
@pytest.mark.parametrize("threat", [Linf("8/255"), L2("1/2"), L1(3)], ids=repr)
def test_an_attack_in_a_frozen_context_changes_nothing(
    attack: PGD, threat: Linf | L2 | L1, model: Classifier, images: Tensor, labels: Tensor
) -> None:
    before = _state(model)
    with frozen(model):
        attack(CrossEntropy(model, labels), images, threat, Draws(0, torch.arange(16)))
    assert _state(model) == before


@pytest.mark.parametrize("fails_at", [1, 2, 4])
def test_an_attack_whose_loss_raises_changes_nothing(
    fails_at: int, model: Classifier, images: Tensor, labels: Tensor
) -> None:
    before, calls = _state(model), []

    def loss(x: Tensor) -> Tensor:
        value = CrossEntropy(model, labels)(x)
        calls.append(len(x))
        if len(calls) == fails_at:
            raise Interrupted
        return value

    with pytest.raises(Interrupted), frozen(model):
        PGD(steps=3)(loss, images, Linf("8/255"), Draws(0, torch.arange(16)))
    assert len(calls) == fails_at
    assert _state(model) == before


def _as_tuple(x: Tensor, y: Tensor) -> object:
    return x, y


def _as_loader(x: Tensor, y: Tensor) -> object:
    return DataLoader(TensorDataset(x, y), batch_size=5, shuffle=True)


@pytest.mark.parametrize("data", [_as_tuple, _as_loader])
def test_an_evaluation_changes_nothing(
    data: Callable[[Tensor, Tensor], object], model: Classifier, images: Tensor, labels: Tensor
) -> None:
    before = _state(model)
    attempts = [Attempt("ce", PGD(steps=2), CrossEntropy), Attempt("margin", PGD(steps=2), Margin)]
    result = evaluate(model, data(images, labels), Linf("8/255"), attempts, batch_size=6)
    assert len(result.labels) == 16
    assert _state(model) == before


def test_an_evaluation_whose_loss_raises_changes_nothing(
    model: Classifier, images: Tensor, labels: Tensor
) -> None:
    before, made = _state(model), []

    def make(classify: Callable[[Tensor], Tensor], y: Tensor) -> LossFunction:
        def loss(x: Tensor) -> Tensor:
            classify(x)
            raise Interrupted

        made.append(len(y))
        return loss

    with torch.no_grad(), frozen(model):
        right = model(images).argmax(1)  # every example has to be attacked
    with pytest.raises(Interrupted):
        evaluate(model, (images, right), Linf("8/255"), [Attempt("own", PGD(steps=2), make)])
    assert made == [16]
    assert _state(model) == before


def test_an_evaluation_whose_network_raises_changes_nothing(
    model: Classifier, images: Tensor, labels: Tensor
) -> None:
    before = _state(model)
    seen: list[int] = []

    def raise_later(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(len(inputs[0]))
        if len(seen) > 3:
            raise Interrupted

    handle = model.head.register_forward_pre_hook(raise_later)
    with pytest.raises(Interrupted):
        evaluate(model, (images, labels), Linf("8/255"), batch_size=4)
    handle.remove()
    assert _state(model) == before
