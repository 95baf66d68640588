"""The reference of the parity gate: float64 that follows casts, or float32 with a tolerance of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harden.artefact.classifier_to_onnx import trace
from harden.artefact.parity.float64_reference import reference
from harden.artefact.parity.parity_gate import check_parity
from harden.artefact.runtime.session import Session
from harden.errors import ExportError
from harden.graph.exporting.torch_exporter import export_module
from harden.models import Classifier
from tests.models.zoo import CLASSES, body

X = torch.rand(15, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BASIS = torch.eye(64)


class Casting(nn.Module):
    """Convolution and linear layer with a cast somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Linear(64, CLASSES)

    def first(self, x: Tensor) -> Tensor:
        return x

    def late(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Any:
        maps = self.conv(self.first(x)).relu()
        return self.late(self.fc(self.middle(maps.flatten(1))))

    def middle(self, x: Tensor) -> Tensor:
        return x


class First(Casting):
    def first(self, x: Tensor) -> Tensor:
        return x.float()


class To(Casting):
    def middle(self, x: Tensor) -> Tensor:
        return x.to(torch.float32)


class Typed(Casting):
    def middle(self, x: Tensor) -> Tensor:
        typed: Tensor = x.type("torch.FloatTensor")
        return typed


class Late(Casting):
    def late(self, x: Tensor) -> Tensor:
        return x.float()


class Doubles(Casting):
    def late(self, x: Tensor) -> Tensor:
        return x.double()


class DoubleInside(Casting):
    def middle(self, x: Tensor) -> Tensor:
        return x.double().square().float()


class Made(Casting):
    def middle(self, x: Tensor) -> Tensor:
        return x @ torch.eye(64, dtype=torch.float32) + torch.ones(64) * torch.tensor(2.0)


class Held(Casting):
    """Tensors that nothing registers."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = torch.eye(64)
        self.deep = [{"basis": torch.eye(64)}, (torch.eye(64),)]
        inside = torch.eye(64)
        self.close: Any = lambda x: x @ inside

    def middle(self, x: Tensor) -> Tensor:
        x = x @ self.basis @ self.deep[0]["basis"] @ self.deep[1][0]  # type: ignore[index]
        closed: Tensor = self.close(x)
        return closed


class Global(Casting):
    def middle(self, x: Tensor) -> Tensor:
        return x @ BASIS


class Strict(Casting):
    """Code that is written for float32 alone."""

    def middle(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting() and x.dtype != torch.float32:
            raise TypeError("float32, please")
        return x


def made(kind: Callable[[], nn.Module]) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return Classifier(kind(), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    "kind",
    [Casting, First, To, Typed, Late, Doubles, DoubleInside, Made, Held, Global],
    ids=lambda kind: kind.__name__,
)
def test_casts_to_float32_are_followed_into_float64(kind: Callable[[], nn.Module]) -> None:
    model = made(kind)
    found = reference(model, export_module(model), X)
    assert found.precision == "float64"
    # The same weights in plain float64, with the casts taken out by hand.
    double: Any = copy.deepcopy(model.network).double().eval()
    assert model.harden_mean is not None
    assert model.harden_std is not None
    with torch.no_grad():
        maps = double.conv((X.double() - model.harden_mean.double()) / model.harden_std.double())
        flat = maps.relu().flatten(1)
        flat = flat.square() if kind is DoubleInside else flat + 2 if kind is Made else flat
        expected = double.fc(flat).numpy()
    np.testing.assert_allclose(found.logits, expected, rtol=1e-13, atol=1e-13)
    assert 0 < found.own < 1e-5


@pytest.mark.parametrize(
    "kind", [Casting, First, Late, Doubles, Held, Strict], ids=lambda kind: kind.__name__
)
def test_such_networks_are_exported_and_the_reference_is_named(kind: Callable[[], nn.Module]) -> None:
    model = made(kind)
    parity = check_parity(model, Session(trace(model, (3, 8, 8)).SerializeToString()), X)
    assert parity.reference == ("float32" if kind is Strict else "float64")
    assert parity.max_error <= parity.tolerance < 1e-3


def test_in_float32_alone_the_tolerance_is_about_that_of_float64() -> None:
    """The estimate has to hold what rounding does, and must not be so wide that a wrong graph passes."""
    exact, single = made(Casting), made(Strict)
    truth = reference(exact, export_module(exact), X)
    found = reference(single, export_module(single), X)
    assert found.precision == "float32"
    assert truth.own / 8 < found.own < 32 * truth.own


def test_in_float32_alone_a_wrong_graph_fails() -> None:
    model = made(Strict)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.network.get_submodule("fc").get_parameter("weight").mul_(1.001)
    session = Session(trace(other, (3, 8, 8)).SerializeToString())
    with pytest.raises(ExportError, match=r"at most .* from the network in float32"):
        check_parity(model, session, X)


@pytest.mark.parametrize("kind", [Held, Strict], ids=repr)
def test_the_model_and_what_is_switched_on_stay_as_they_were(kind: Callable[[], nn.Module]) -> None:
    model = made(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reference(model, export_module(model), X)
    assert torch.get_default_dtype() == torch.float32
    assert torch.backends.mkldnn.enabled
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    held: Any = model.network
    if kind is Held:
        assert held.basis.dtype == held.deep[0]["basis"].dtype == torch.float32


def test_a_network_without_casts_has_the_reference_it_had() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(2)
        model = Classifier(body()).eval()
    found = reference(model, export_module(model), X)
    with torch.no_grad():
        expected = copy.deepcopy(model.network).double()(X.double()).numpy()
        own = np.abs(model.network(X).double().numpy() - expected).max()
    np.testing.assert_array_equal(found.logits, expected)
    assert found.own == own
