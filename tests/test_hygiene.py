"""Whatever is done with a model and however it ends, model and process are as they were."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harden.artefact.export import export
from harden.artefact.measure_file import Claim
from harden.attacks import FGSM, PGD
from harden.data import from_loader
from harden.draws import Draws
from harden.evaluation import Attempt, evaluate, pgd_suite
from harden.hardening import Recipe, harden
from harden.losses import CrossEntropy
from harden.models import Classifier
from harden.objectives import TRADES, AdversarialTraining, LinearProbe, MoCo, SimCLR, Standard
from harden.threats import L2, Linf, Threat
from harden.training import Budget, Stage, train
from harden.views import LIGHT

# So small that examples stay standing, and every attempt has work to do.
THREAT = Linf("1/2000")
QUICK = PGD(steps=2, keep_best=False)
Act = Callable[[Classifier, Tensor, Tensor, Path], object]


class Stop(BaseException):
    """An interrupt that nothing of ours catches."""


def state_of(model: Classifier) -> dict[str, Any]:
    """Everything of a model that work on it could disturb."""
    return {
        "weights": {name: (value.clone(), value.data_ptr()) for name, value in model.state_dict().items()},
        "modes": [(name, part.training) for name, part in model.named_modules()],
        "flags": [(name, weight.requires_grad) for name, weight in model.named_parameters()],
        "gradients": {
            name: None if weight.grad is None else weight.grad.clone()
            for name, weight in model.named_parameters()
        },
        "hooks": [
            (name, len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks))
            for name, part in model.named_modules()
        ],
        "attributes": {name: sorted(vars(part)) for name, part in model.named_modules()},
    }


def process_state() -> dict[str, Any]:
    """Everything of the process that a library could leave changed."""
    return {
        "torch": torch.get_rng_state(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "autocast cache": torch.is_autocast_cache_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "threads": torch.get_num_threads(),
        "global hooks": len(torch.nn.modules.module._global_forward_hooks),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.fixture
def model(network: nn.Module) -> Classifier:
    """In training mode, a BatchNorm held still, a weight frozen, gradients and hooks of the user's."""
    for number, weight in enumerate(network.parameters()):
        if weight.requires_grad:
            weight.grad = torch.full_like(weight, float(number))
    network.register_forward_hook(lambda *_: None)
    return Classifier(network, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


class Breaking(nn.Module):
    """Lets so many forwards through, and then is interrupted."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.left = [10**9]  # shared by copies, so that work on a copy is interrupted too

    def __deepcopy__(self, memo: dict[int, Any]) -> Breaking:
        import copy

        again = Breaking(copy.deepcopy(self.inner, memo))
        again.left = self.left
        again.training = self.training
        return again

    def forward(self, x: Tensor) -> Tensor:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Stop
        logits: Tensor = self.inner(x)
        return logits


def attack(threat: Threat) -> Act:
    def act(model: Classifier, x: Tensor, y: Tensor, place: Path) -> object:
        return PGD(steps=3)(CrossEntropy(model.logits, y), x, threat, Draws(0, torch.arange(len(x))))

    return act


def hardened(recipe: Recipe) -> Act:
    def act(model: Classifier, x: Tensor, y: Tensor, place: Path) -> object:
        return harden(model, from_loader((x, y), 8), threat=THREAT, recipe=recipe, budget="2epochs")

    return act


def exported(model: Classifier, x: Tensor, y: Tensor, place: Path) -> object:
    return export(model, place / "out", (x, y), Claim(threat=THREAT, attempts=pgd_suite(2, 1), before=model))


ACTS: dict[str, Act] = {
    "evaluate": lambda model, x, y, place: evaluate(model, (x, y), THREAT, pgd_suite(2, 1)),
    "evaluate-fgsm-l2": lambda model, x, y, place: evaluate(model, (x, y), L2("1/2"), [Attempt("f", FGSM())]),
    "features": lambda model, x, y, place: model.features(x).detach(),
    "harden-trades": hardened(Recipe(TRADES(attack=QUICK, views=LIGHT), validations=1)),
    "harden-simclr-probe": hardened(Recipe(LinearProbe(), SimCLR(hidden=4, width=3), pretrain_share=0.5)),
    "harden-moco-madry": hardened(Recipe(AdversarialTraining(QUICK), MoCo(queue=8, hidden=4, width=3))),
    "export": exported,
}
# The forward of a network in training mode moves BatchNorm's statistics, as in any torch program.
IN_USE = {"features"}


KINDS = ["float64", "autocast", "no_grad", "inference", "meta device"]


@contextmanager
def within(kind: str) -> Iterator[None]:
    """What a user's program may have switched on."""
    if kind == "float64":
        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(torch.float32)
    elif kind == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            yield
    elif kind == "no_grad":
        with torch.no_grad():
            yield
    elif kind == "meta device":
        torch.set_default_device("meta")
        yield
        torch.set_default_device(None)
    else:
        with torch.inference_mode():
            yield


@pytest.mark.parametrize("name", ACTS)
def test_nothing_is_left_changed(
    model: Classifier, images: Tensor, labels: Tensor, tmp_path: Path, name: str
) -> None:
    if name in IN_USE:
        model.eval()
    before, process = state_of(model), process_state()
    ACTS[name](model, images, labels, tmp_path)
    assert same(state_of(model), before)
    assert same(process_state(), process)


@pytest.mark.parametrize("name", [name for name in ACTS if name not in IN_USE])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_nothing_is_left_changed_by_an_interrupt(
    model: Classifier, images: Tensor, labels: Tensor, tmp_path: Path, name: str, after: int
) -> None:
    breaking = Breaking(model.network)
    breaking.training = model.network.training
    wrapped = Classifier(breaking, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    before, process = state_of(wrapped), process_state()
    breaking.left[0] = after
    with pytest.raises(Stop):
        ACTS[name](wrapped, images, labels, tmp_path)
    gc.collect()
    assert same(state_of(wrapped), before)
    assert same(process_state(), process)
    assert list(tmp_path.iterdir()) == []


def test_a_stage_in_place_gives_back_flags_modes_and_gradients(
    model: Classifier, images: Tensor, labels: Tensor
) -> None:
    for weight in model.parameters():
        weight.grad = None
    before, process = state_of(model), process_state()
    list(
        train(
            Stage("one", Standard(), Budget.parse("1epochs")), model, from_loader((images, labels), 8), THREAT
        )
    )
    after = state_of(model)
    assert same(process_state(), process)
    for part in ("modes", "flags", "gradients", "hooks", "attributes"):
        assert same(after[part], before[part]), part
    assert not same(after["weights"], before["weights"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in ACTS if name != "features"])
def test_it_works_in_any_surroundings_and_leaves_them(
    model: Classifier, images: Tensor, labels: Tensor, tmp_path: Path, name: str, kind: str
) -> None:
    before = state_of(model)
    with within(kind):
        process = process_state()
        ACTS[name](model, images, labels, tmp_path)
        assert same(process_state(), process)
    assert same(state_of(model), before)


@pytest.mark.parametrize("kind", ["linf", "l2"])
def test_a_bare_attack_leaves_the_model(
    model: Classifier, images: Tensor, labels: Tensor, tmp_path: Path, kind: str
) -> None:
    model.eval()
    before, process = state_of(model), process_state()
    attack(THREAT if kind == "linf" else L2("1/2"))(model, images, labels, tmp_path)
    assert same(state_of(model), before)
    assert same(process_state(), process)


@pytest.mark.parametrize("kind", KINDS)
def test_surroundings_change_no_result(model: Classifier, images: Tensor, labels: Tensor, kind: str) -> None:
    def results() -> tuple[Tensor, dict[str, Tensor]]:
        found = evaluate(model, (images, labels), Linf("8/255"), pgd_suite(3, 1))
        recipe = Recipe(TRADES(attack=QUICK), SimCLR(hidden=4, width=3), validations=1)
        made = harden(model, from_loader((images, labels), 8), threat=THREAT, recipe=recipe, budget="9E")
        return found.robust_correct, made.model.state_dict()

    expected = results()
    with within(kind):
        found = results()
    assert same(found, expected)
