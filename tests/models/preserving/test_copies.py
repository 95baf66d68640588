"""Copies of networks: their own tensors, the same answers, and the original as it was."""

from __future__ import annotations

import copy
import functools
import logging
import os
import queue
import socket
import sys
import tempfile
import threading
import warnings
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.utils.data import DataLoader, TensorDataset

from harden.errors import InputError
from harden.models import Classifier, copied, float32_copy, ordinary, untouched

# torch.compile reads `.grad` of intermediate tensors, of which torch itself then warns.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

X = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def body() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 6), nn.ReLU(), nn.Linear(6, 5)
        )


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


STUCK: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "queue": queue.Queue,
    "file": tempfile.TemporaryFile,
    "generator": lambda: (number for number in range(3)),
    "module": lambda: os,
    "thread": lambda: threading.Thread(target=print),
    "event": threading.Event,
    "logger": lambda: logging.getLogger("harden.tests"),
    "weak reference": lambda: weakref.ref(threading.Event),
    "socket": socket.socket,
    "function": lambda: lambda x: x,
    "loader": lambda: DataLoader(TensorDataset(X)),
    "optimiser": lambda: torch.optim.SGD(nn.Linear(2, 2).parameters()),
    "writer": lambda: SimpleNamespace(log=queue.Queue(), events=[threading.Event()]),
}
PLACES: dict[str, Callable[[Any, Tensor], Any]] = {
    "attribute": lambda held, tensor: held,
    "list": lambda held, tensor: [1, [held, tensor]],
    "dict": lambda held, tensor: {"a": {"b": held}, "c": tensor},
    "tuple": lambda held, tensor: (held, (tensor,)),
    "object": lambda held, tensor: SimpleNamespace(held=[held], tensor=tensor),
    "subclass": lambda held, tensor: OrderedDict(a=held, b=defaultdict(list, {1: [tensor]})),
}


def leaves(value: Any) -> list[Any]:
    """What a nest of containers and namespaces holds in the end."""
    if type(value) in (list, tuple):
        return [leaf for each in value for leaf in leaves(each)]
    if isinstance(value, dict):
        return leaves(list(value.values()))
    if isinstance(value, SimpleNamespace) and hasattr(value, "held"):
        return leaves(list(vars(value).values()))
    return [value]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", STUCK)
def test_what_cannot_be_copied_is_shared_and_tensors_beside_it_are_not(kind: str, place: str) -> None:
    network: Any = body()
    tensor = torch.ones(2)
    held = STUCK[kind]()
    network.get_submodule("3").helper = PLACES[place](held, tensor)
    twin = copied(network)
    helper: Any = twin.get_submodule("3").helper
    assert torch.equal(twin(X), network(X))
    assert any(leaf is held for leaf in leaves(helper))
    others = [leaf for leaf in leaves(helper) if isinstance(leaf, Tensor)]
    assert len(others) == (0 if place == "attribute" else 1)
    assert all(torch.equal(other, tensor) and other is not tensor for other in others)
    if kind in ("file", "socket"):
        held.close()


class Holder:
    """Holds a lock, tensors and the network itself, and refuses to be pickled."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.lock, self.gain = network, threading.Lock(), torch.full((), 2.0)
        self.parts = list(network.modules())

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("not this one")

    def __call__(self, x: Tensor) -> Tensor:
        bias: Tensor = self.network.get_submodule("5").get_parameter("bias")
        return x * self.gain + bias


class Held(nn.Module):
    """A forward through objects, functions and weak references that lead back to the network."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()
        self.gate: Any = Holder(self.body)
        self.body.parent = [self]  # type: ignore[assignment]  # what users do
        self.near = weakref.ref(self.body)
        self.proxy = [weakref.proxy(self.body)]
        scale = nn.Parameter(torch.full((), 0.5))
        self.scale = scale
        self.act: Any = lambda x: x * scale + self.body.get_submodule("5").get_parameter("bias")
        self.method: Any = self.inside
        self.partly: Any = functools.partial(self.shifted, self.body)

    def inside(self, x: Tensor) -> Tensor:
        return x + self.body.get_submodule("5").get_parameter("bias")

    @staticmethod
    def shifted(network: nn.Module, x: Tensor) -> Tensor:
        return x + network.get_submodule("5").get_parameter("bias")

    def forward(self, x: Tensor) -> Tensor:
        x = self.partly(self.method(self.act(self.gate(self.body(x)))))
        near = self.near()
        assert near is not None
        x = x + near.get_submodule("5").get_parameter("bias")
        logits: Tensor = x + self.proxy[0].get_submodule("5").get_parameter("bias")
        return logits


def test_what_leads_back_to_the_network_leads_to_the_copy() -> None:
    network = Held().eval()
    before = network(X).detach()
    twin = copied(network)
    assert torch.equal(twin(X), before)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.mul_(2)
        for weight in network.parameters():
            weight.zero_()
    moved = twin(X)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(7)
    assert torch.equal(twin(X), moved)  # nothing of the original is computed with
    assert not torch.equal(moved, before)
    twin(X).square().sum().backward()
    assert all(weight.grad is not None for weight in twin.parameters())
    assert all(weight.grad is None for weight in network.parameters())
    assert twin.gate.lock is network.gate.lock
    assert twin.body.parent[0] is twin  # type: ignore[index]  # a list


def test_a_forward_that_was_patched_runs_the_copys_own() -> None:
    network: Any = body()
    inner = network.forward
    network.forward = lambda x: inner(x) + 1
    twin = copied(network)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    assert not torch.equal(twin(X), network(X))
    twin(X).sum().backward()
    assert all(weight.grad is not None for weight in twin.parameters())


def test_hooks_write_on_what_is_the_copys() -> None:
    """In a closure, as a default, on the network, on an object, as a bound method of a list."""
    network: Any = body()
    kept: dict[str, Any] = {}
    recorder, answers = SimpleNamespace(seen=[]), deque[Any](maxlen=3)
    network.kept = kept

    def closed(module: nn.Module, given: object, answer: Tensor) -> Tensor:
        kept["closed"] = answer
        recorder.seen.append(answer)
        return answer * 3  # part of the function

    def keep(module: nn.Module, given: object, answer: Tensor, *, store: Any = kept) -> None:
        store["default"] = answer
        answers.append(answer)

    network[0].register_forward_hook(closed)
    network[3].register_forward_hook(keep)
    twin = copied(network)
    expected = network(X)
    seen = (dict(kept), list(recorder.seen), list(answers))
    assert torch.equal(twin(X), expected)
    assert (dict(kept), list(recorder.seen), list(answers)) == seen
    own: Any = twin.kept
    assert own is not kept
    assert own.keys() == {"closed", "default"}


def test_what_a_class_closes_over_is_the_same_for_hooks_and_forward() -> None:
    """A network of a notebook's function: the hook writes and the forward reads one dict."""
    kept: dict[str, Tensor] = {}

    def last() -> Tensor:
        return kept["conv"]

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body()
            self.kept = kept

            def keep(module: nn.Module, given: object, answer: Tensor, store: Any = kept) -> None:
                store["conv"] = answer

            self.body[0].register_forward_hook(keep)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.body(x)
            return answer + kept["conv"].mean((1, 2, 3))[:, None] + last().mean((1, 2, 3))[:, None]

    network = Reading().eval()
    twin = copied(network)
    answer = twin(X)
    assert torch.equal(answer, network(X))
    with torch.no_grad():
        twin.get_submodule("body.0").get_parameter("weight").mul_(2)
    assert not torch.equal(twin(X), answer)


def test_functions_that_a_module_knows_are_the_same_in_the_copy() -> None:
    network = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation=torch.nn.functional.gelu)
    assert copied(network).activation is torch.nn.functional.gelu
    pooled: Any = body()
    pooled.pool = torch.nn.functional.max_pool2d
    assert copied(pooled).pool is torch.nn.functional.max_pool2d


def test_memory_of_a_parameter_seen_twice_is_seen_twice_in_the_copy() -> None:
    """Tied weights as a view that was made once."""
    network: Any = body()
    network.shown = network[3].weight.t()
    network.part = network[3].weight.data[1:3]
    twin: Any = copied(network)
    with torch.no_grad():
        twin[3].weight.fill_(5)
    assert bool((twin.shown == 5).all())
    assert bool((twin.part == 5).all())
    assert not bool((network.shown == 5).any())
    twin.shown.sum().backward()
    assert twin[3].weight.grad is not None


def test_tensors_of_inference_mode_become_ordinary_ones() -> None:
    with torch.inference_mode():
        network: Any = body()
        network.extra = [torch.ones(2)]
    twin: Any = copied(network)
    assert not any(value.is_inference() for value in (*twin.state_dict().values(), *twin.extra))
    twin(X).sum().backward()
    assert all(weight.grad is not None for weight in twin.parameters())
    assert ordinary(network) is not network
    assert not next(iter(ordinary(network).parameters())).is_inference()
    assert ordinary(plain := body()) is plain


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


class Slotted:
    """No __dict__, tensors in slots."""

    __slots__ = ("lock", "mean", "unset")

    def __init__(self) -> None:
        self.mean, self.lock = torch.ones(2), threading.Lock()


def test_attributes_in_slots_are_copied() -> None:
    network: Any = body()
    network.held = Slotted()
    held: Any = copied(network).held
    assert held is not network.held
    assert held.lock is network.held.lock
    assert torch.equal(held.mean, torch.ones(2))
    assert held.mean is not network.held.mean
    assert not hasattr(held, "unset")


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
