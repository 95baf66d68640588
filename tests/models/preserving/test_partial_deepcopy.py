"""Deep copies: what can't be copied is shared, the rest belongs to the copy, and references lead there."""

from __future__ import annotations

import functools
import logging
import os
import queue
import socket
import tempfile
import threading
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from harden.models import copied, ordinary
from tests.models.preserving.networks import X, body

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
