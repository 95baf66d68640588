"""A table: networks x (wrap, attack, one hardening step, export, parity, verify). All pass.

Each network is left as it was, bit for bit. Refusals are in test_wrapping_checks.py.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harden.artefact.artefact import load
from harden.attacks import PGD
from harden.data import Examples
from harden.evaluation import evaluate, pgd_suite
from harden.hardening import Recipe, harden
from harden.models import Classifier, float32_copy
from harden.models.unwrap import unwrap
from harden.objectives import AdversarialTraining
from harden.threats import Linf
from harden.training import StepRecord
from harden.verifier.verify_command import main as verify
from tests.models.traits import TRAITS
from tests.models.traits_written import WRITTEN
from tests.models.zoo import Case
from tests.models.zoo_large import TIMM, TORCHVISION

# torch.compile reads `.grad` of intermediate tensors, of which torch itself then warns.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

THREAT = Linf("8/255")
ALL = TRAITS | WRITTEN
STEP = Recipe(finetune=AdversarialTraining(PGD(steps=1, keep_best=False)), validations=0, average=0.0)


def make(case: Case) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = case.make()
    # Only from the outside, and not where a network sets modes of its own in its parts.
    return network if case.train else network.eval()


def images(case: Case, count: int = 6) -> Examples:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, case.channels, case.size, case.size, generator=generator)
    names = tuple(str(number) for number in range(case.classes))
    return Examples(x, torch.arange(count) % min(case.classes, 3), names, "noise")


def state_of(network: nn.Module) -> Iterator[object]:
    """All that must not change: values, types, modes, flags, gradients, hooks."""
    for name, value in network.state_dict(keep_vars=True).items():
        content = value.detach().reshape(-1).view(torch.uint8).numpy().tobytes()
        yield name, value.dtype, hashlib.sha256(content).digest(), value.requires_grad, value.grad is None
    for name, part in network.named_modules():
        hooks = len(part._forward_pre_hooks) + len(part._forward_hooks) + len(part._backward_hooks)
        yield name, id(part), part.training, hooks


def walk(case: Case, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every stage, for one network."""
    network = make(case)
    before, random = list(state_of(network)), torch.get_rng_state()
    data = images(case)

    std = None if case.mean is None else (0.25,) * len(case.mean)
    head = case.head if case.named else None
    model = Classifier(network, case.mean, std, head=head, output=case.output)
    assert model.head_name == case.head
    assert f"head {case.head!r}" in model.describe()
    assert model.network is unwrap(network)
    check_features(model, data.x, case.alone)

    measured = evaluate(model, data.take(torch.arange(4)), THREAT, pgd_suite(2, 1))
    assert 0 <= measured.robust.value <= measured.clean.value <= 1
    assert list(state_of(network)) == before

    steps: list[StepRecord] = []
    hardened = harden(model, data, threat=THREAT, recipe=STEP, budget="1epochs", on_step=steps.append)
    assert len(steps) == 1
    check_trained(model, hardened.model)

    unseen = Examples(1 - data.x, data.y, data.classes)
    hardened.export(folder, unseen, attempts=pgd_suite(1, 1), compare={"before": model})
    predicate = load(folder).certificate.predicate
    assert predicate.parity.max_error <= predicate.parity.tolerance
    capsys.readouterr()
    assert verify([str(folder)]) == 0, capsys.readouterr().out

    with torch.no_grad():
        again = torch.from_numpy(load(folder)(data.x.numpy()))
        torch.testing.assert_close(again, hardened.model(data.x), rtol=1e-3, atol=1e-3)
    assert list(state_of(network)) == before
    assert torch.equal(torch.get_rng_state(), random)


def check_features(model: Classifier, x: Tensor, alone: bool) -> None:
    """Features are one vector for each image, and the head makes the logits of them."""
    twin = float32_copy(model).eval()
    with torch.no_grad():
        features, logits = twin.features(x), twin(x)
        assert features.dim() == 2
        assert len(features) == len(x)
        if not alone or not isinstance(twin.head, nn.Linear):
            return
        made = twin.head(features)
    if made.shape == logits.shape:
        torch.testing.assert_close(made, logits, rtol=1e-4, atol=1e-4)
    else:
        torch.testing.assert_close(made[:, 0], logits[:, 1], rtol=1e-4, atol=1e-4)


def check_trained(model: Classifier, hardened: Classifier) -> None:
    """In float32, with every weight that may change changed, and those that are frozen as they were."""
    before = dict(float32_copy(model).named_parameters())
    after = dict(hardened.named_parameters())
    assert before.keys() == after.keys()
    assert {weight.dtype for weight in after.values() if not weight.is_complex()} == {torch.float32}
    moved = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert moved <= {name for name, weight in before.items() if weight.requires_grad}
    assert any(name.startswith(f"network.{hardened.head_name}.") for name in moved)
    modes = dict(float32_copy(model).named_modules())
    for name, part in hardened.named_modules():
        if isinstance(part, nn.BatchNorm2d) and model.network.training and not modes[name].training:
            assert part.running_mean is not None
            assert torch.equal(part.running_mean, modes[name].get_buffer("running_mean").float()), name


FAST = {
    "plain",
    "dataclass",
    "frozen BatchNorm",
    "spectral norm",
    "custom autograd",
    "buffers",
    "parallel",
    "attention",
    "len(x)",
    "not registered",
    "scripted part",
}
"""An export takes seconds, so that not all can be among the quick tests."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.once) for name in ALL]
)
def test_traits(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(ALL[name], tmp_path / "artefact", capsys)


@pytest.mark.once
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(TORCHVISION[name], tmp_path / "artefact", capsys)


@pytest.mark.once
@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(TIMM[name], tmp_path / "artefact", capsys)
