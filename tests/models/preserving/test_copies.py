"""Copies of networks: their own tensors, the same answers, and the original as it was."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from harden.errors import InputError
from harden.models import Classifier, copied, float32_copy, untouched
from tests.models.preserving.networks import X, body

# torch.compile reads `.grad` of intermediate tensors, of which torch itself then warns.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


def old_weight_norm() -> nn.Module:
    network = body()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        weight_norm(network[3])
    return network


def old_spectral_norm() -> nn.Module:
    network = body()
    with torch.random.fork_rng(devices=[]):
        spectral_norm(network[3])
    return network


def parametrized() -> nn.Module:
    network = body()
    parametrizations.weight_norm(network[3])
    with torch.random.fork_rng(devices=[]):
        parametrizations.spectral_norm(network[5])
    return network


def tied() -> nn.Module:
    network = body()
    second = nn.Linear(6, 6)
    second.weight = nn.Parameter(torch.eye(6))
    third = nn.Linear(6, 6)
    third.weight = second.weight
    return nn.Sequential(*network[:5], second, third, network[5])


def compiled(module: nn.Module) -> nn.Module:
    # torch's annotation names a function; it returns a module that compiles when it is first called.
    made: object = torch.compile(module, backend="eager")
    assert isinstance(made, nn.Module)
    return made


def compiled_inside() -> nn.Module:
    network = body()
    inner = nn.Sequential(nn.Flatten(), compiled(network[3]))
    return nn.Sequential(compiled(network[0]), network[1], compiled(inner), *network[4:])


def cached() -> nn.Module:
    """A forward that keeps tensors with a history, as for a plot."""
    network = body()

    def keep(module: nn.Module, _: object, answer: Tensor) -> None:
        module.kept = {"last": [answer * 2]}  # type: ignore[assignment]  # what users do

    network[3].register_forward_hook(keep)
    return network


MAKERS: list[Callable[[], nn.Module]] = [
    body,
    old_weight_norm,
    old_spectral_norm,
    parametrized,
    tied,
    compiled_inside,
    cached,
]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_copy_answers_the_same_and_shares_no_tensor(make: Callable[[], nn.Module]) -> None:
    network = make().train()
    network(X).sum().backward()  # leaves tensors with a history where a network keeps such
    network.eval()
    network.get_submodule("1").train()  # one part in another mode than the rest
    modes = [part.training for part in network.modules()]
    network.get_submodule("1").momentum = 0.0  # type: ignore[assignment]  # a call must not move statistics
    values = {name: value.clone() for name, value in network.state_dict().items()}
    twin = copied(network)
    assert torch.equal(twin(X), network(X))
    mine = {value.data_ptr() for value in network.state_dict().values()}
    assert not mine & {value.data_ptr() for value in twin.state_dict().values()}
    assert len(list(twin.parameters())) == len(list(network.parameters()))
    assert [part.training for part in network.modules()] == modes
    twin_modes = {name: part.training for name, part in twin.named_modules()}
    assert twin_modes["1"] is True
    assert not twin_modes["0"]
    with torch.no_grad():
        for weight in twin.parameters():
            weight.add_(1)
    for name, value in network.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(value, values[name]), name


@pytest.mark.parametrize("make", [old_weight_norm, old_spectral_norm, cached], ids=lambda make: make.__name__)
def test_deepcopy_alone_would_refuse_these(make: Callable[[], nn.Module]) -> None:
    network = make()
    network(X)
    with pytest.raises(RuntimeError, match="explicitly"):
        copy.deepcopy(network)
    copied(network)


def test_scripted_and_traced_parts_are_copied() -> None:
    network: Any = body()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather compile
        network[0] = torch.jit.script(network[0])
        network[3] = torch.jit.trace(network[3], torch.rand(2, 144))  # type: ignore[no-untyped-call]
    twin = copied(network)
    before = network(X)
    assert torch.equal(twin(X), before)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.add_(1)
    assert torch.equal(network(X), before)
    assert not torch.equal(twin(X), before)


def test_complex_weights_keep_their_imaginary_part() -> None:
    network: Any = body()
    network.spectrum = nn.Parameter(torch.full((2,), 1 + 2j))
    twin: Any = float32_copy(network)
    assert twin.spectrum.tolist() == [1 + 2j] * 2


def test_tensors_that_are_neither_parameters_nor_buffers_follow_type_and_device() -> None:
    network: Any = body().half()
    network.basis = torch.ones(2, dtype=torch.float16)
    network.deep = [{"a": torch.ones(2, dtype=torch.float16)}, (torch.ones(2, dtype=torch.int8),)]
    exact = torch.ones(2, dtype=torch.float64)
    network.exact = exact
    network.apply_to = lambda x: x * network.basis
    twin: Any = float32_copy(network, "cpu")
    assert twin.basis.dtype == twin.deep[0]["a"].dtype == torch.float32
    assert twin.apply_to(twin.basis).dtype == torch.float32
    assert twin.deep[1][0].dtype == torch.int8
    assert twin.exact.dtype == torch.float64
    double: Any = copied(twin, dtype=torch.float64)
    assert double.basis.dtype == double.deep[0]["a"].dtype == torch.float64
    assert network.basis.dtype == torch.float16


def test_parts_may_be_nested_deeply() -> None:
    network: nn.Module = nn.Linear(2, 2)
    for _ in range(150):
        network = nn.Sequential(network)
    limit = sys.getrecursionlimit()
    assert len(list(copied(network).parameters())) == 2
    assert sys.getrecursionlimit() == limit


def test_a_tensor_that_a_tracer_left_behind_is_no_hindrance() -> None:
    network: Any = body()
    with FakeTensorMode():
        left = torch.rand(2)
    network.kept = {"left": left}
    assert copied(network).kept["left"] is left
    with untouched(network):
        network(X)


class Unwilling(nn.Module):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise RuntimeError("mine alone")


def test_a_part_that_refuses_is_named_in_one_line() -> None:
    network = nn.Sequential(body(), Unwilling())
    with pytest.raises(InputError, match=r"Sequential that can't be copied \(mine alone\)") as caught:
        copied(network)
    assert "\n" not in str(caught.value)


def test_a_copy_trains() -> None:
    """A frozen leaf in place of the norm's weight would answer the same and never learn."""
    for make in MAKERS:
        network = make()
        network(X)
        twin = copied(network)
        twin(X).square().sum().backward()
        assert {weight.grad is not None for weight in twin.parameters()} == {True}, make.__name__


def test_compiled_parts_are_gone_from_the_copy_and_not_from_the_original() -> None:
    network = compiled_inside()
    names = list(network.state_dict())
    assert any("_orig_mod" in name for name in names)
    twin = copied(network)
    assert not any("_orig_mod" in name for name in twin.state_dict())
    assert list(network.state_dict()) == names
    assert type(twin.get_submodule("0")) is nn.Conv2d


def test_shared_parameters_stay_shared() -> None:
    twin = copied(tied())
    assert twin.get_submodule("5").weight is twin.get_submodule("6").weight


def test_a_part_in_two_places_stays_one_part() -> None:
    part = compiled(nn.Linear(4, 4))
    twin = copied(nn.ModuleDict({"a": part, "b": nn.Sequential(part)}))
    assert twin["a"] is twin["b"][0]  # type: ignore[index]  # a Sequential


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float32])
def test_float32_copy_has_float32_weights_and_leaves_the_original(dtype: torch.dtype) -> None:
    model = Classifier(body().to(dtype), (0.5,), (0.25,)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = float32_copy(model)
    floating = {value.dtype for value in twin.state_dict().values() if value.is_floating_point()}
    assert floating == {torch.float32}
    assert twin.network[1].num_batches_tracked.dtype == torch.int64  # type: ignore[index]  # a Sequential
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
        assert torch.equal(twin.state_dict()[name].to(value.dtype), value)
    torch.testing.assert_close(twin(X), model(X), rtol=0.05, atol=0.05)


def test_a_classifier_is_copied_with_its_head() -> None:
    network = compiled_inside()
    model = Classifier(network, (0.5,), (0.5,)).eval()
    twin = copied(model)
    assert torch.equal(twin(X), model(X))
    assert torch.equal(twin.features(X), model.features(X))
    assert twin.head is not model.head
