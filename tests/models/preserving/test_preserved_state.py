"""All state of a network and its hooks is restored, whatever forwards change."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.evaluation import evaluate, pgd_suite
from harden.hardening import Recipe, harden
from harden.models import Classifier, given_back, untouched
from harden.objectives import AdversarialTraining
from harden.threats import Linf
from tests.models.zoo import body

X = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6) % 3
THREAT = Linf("8/255")
SEEN: dict[str, list[Tensor]] = {"kept": []}
CALLS = 0


def by_name(module: nn.Module, given: object, answer: Tensor) -> None:
    """A hook that its module knows by name: the copies share it, with the names it writes on."""
    global CALLS  # what notebooks do
    CALLS += 1
    SEEN["kept"].append(answer)
    SEEN[f"{CALLS}"] = [answer]


class Busy(nn.Module):
    """Writes on everything that a forward can write on."""

    cache: ClassVar[dict[str, Any]] = {}
    forwards = 0

    def __init__(self) -> None:
        super().__init__()
        self.body = body()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("center", torch.zeros(3))
        self.register_buffer("ghost", torch.zeros(2), persistent=False)
        self.plain = torch.zeros(3)
        self.replaced = torch.zeros(3)
        self.held: list[Any] = [torch.zeros(2), {"deep": torch.zeros(2)}]
        self.recent: deque[Tensor] = deque(maxlen=2)
        self.counted: Counter[str] = Counter(a=3)
        self.ordered = OrderedDict(first=1, second=2)
        self.names = {"set"}
        self.stats = SimpleNamespace(mean=torch.zeros(3), seen=0)
        self.array = np.zeros(3)
        self.source = torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.body(x)
        mean = z.detach().mean(0)
        with torch.no_grad():
            self.get_buffer("calls").add_(1)
            self.get_buffer("center").lerp_(mean, 0.1)
            self.get_buffer("ghost").data.add_(1)
            self.plain += mean
            self.replaced = self.replaced + mean
            self.body.get_submodule("fc").bias.data.clamp_(-0.01, 0.01)  # type: ignore[operator]
        self.features = z
        self.held[0].add_(1)
        self.held[1]["deep"] = z
        self.held.append(z)
        self.recent.append(z)
        self.counted["a"] += 1
        self.ordered["third"] = 3
        self.names.add("get")
        self.stats.mean = self.stats.mean + mean
        self.stats.seen += len(x)
        self.array += 1
        torch.rand(1, generator=self.source)
        self.cache[f"{len(self.cache)}"] = z
        type(self).forwards += 1
        return z


def watched() -> tuple[Busy, dict[str, Any], list[int]]:
    """A network, what its hooks write on, and how often they ran, in a closure."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = Busy()
    kept: dict[str, Any] = {}
    runs = [0]
    times = 0

    def count(module: nn.Module, given: object, answer: Tensor) -> None:
        nonlocal times
        times += 1
        runs[0] = times
        kept["answer"] = answer

    network.body.register_forward_hook(count)
    network.body.get_submodule("conv").register_forward_hook(by_name)
    network(X)  # in use before
    return network, kept, runs


def condition(network: Busy, kept: dict[str, Any], runs: list[int]) -> list[Any]:
    """All that there is to see, as values that are compared by content, and who is who."""

    def shown(value: Any) -> Any:
        if isinstance(value, Tensor | np.ndarray):
            return id(value), value.tolist()
        if isinstance(value, dict):
            return [(key, shown(each)) for key, each in value.items()]
        if isinstance(value, list | tuple | deque):
            return [shown(each) for each in value]
        if isinstance(value, SimpleNamespace):
            return shown(vars(value))
        return value

    own = [
        (name, shown(value))
        for name, value in vars(network).items()
        if not name.startswith("_") and name not in ("source", "training")
    ]
    tensors = [(name, shown(value)) for name, value in network.named_parameters()]
    tensors += [(name, shown(value)) for name, value in network.named_buffers()]
    outside = [shown(SEEN), CALLS, shown(Busy.cache), Busy.forwards, shown(kept), list(runs)]
    return [own, tensors, outside, network.source.get_state().tolist(), *_flags(network)]


def _flags(network: nn.Module) -> list[Any]:
    return [
        [part.training for part in network.modules()],
        [weight.requires_grad for weight in network.parameters()],
        [len(part._forward_hooks) for part in network.modules()],
    ]


def test_everything_is_given_back() -> None:
    network, kept, runs = watched()
    before = condition(network, kept, runs)
    with untouched(network):
        assert not network.training
        network(X)
        network.added = torch.ones(2)
        del network.plain
        assert condition_differs(network, kept, runs, before)
    assert condition(network, kept, runs) == before
    assert not hasattr(network, "added")


def condition_differs(network: Busy, kept: dict[str, Any], runs: list[int], before: list[Any]) -> bool:
    now = condition(network, kept, runs)
    return all(new != old for new, old in zip(now[:4], before[:4], strict=True))


def test_everything_is_given_back_where_the_body_raises() -> None:
    network, kept, runs = watched()
    before = condition(network, kept, runs)[:4]
    network.body.get_submodule("fc").register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), given_back(network):
        network(X)
    network.body.get_submodule("fc")._forward_hooks.clear()
    assert condition(network, kept, runs)[:4] == before


def test_what_did_not_change_is_not_written() -> None:
    network = body()
    versions = [weight._version for weight in network.parameters()]
    with untouched(network):
        network(X)
    assert [weight._version for weight in network.parameters()] == versions


def test_a_tensor_that_was_swapped_and_one_that_grew_come_back() -> None:
    network = body()
    weight = network.get_submodule("fc").get_parameter("weight")
    content, place = weight.detach().clone(), weight.data_ptr()
    network.memory = torch.zeros(2)
    memory = network.memory
    with given_back(network):
        weight.data = torch.zeros(1)
        network.memory.resize_(5)
        network.memory.fill_(7)
    assert torch.equal(weight, content)
    assert weight.data_ptr() == place
    assert network.memory is memory
    assert torch.equal(memory, torch.zeros(2))


def test_values_that_are_no_numbers_come_back() -> None:
    network = body()
    network.register_buffer("mask", torch.tensor([torch.nan, -torch.inf, 1.0]))
    with given_back(network):
        network.get_buffer("mask").fill_(0)
    assert network.get_buffer("mask").tolist()[1:] == [-torch.inf, 1.0]
    assert network.get_buffer("mask")[0].isnan()


STEP = Recipe(finetune=AdversarialTraining(PGD(steps=1, keep_best=False)), validations=1, average=0.0)


@pytest.mark.parametrize("action", ["evaluate", "harden"])
def test_a_network_that_writes_is_left_as_it_was(action: str) -> None:
    network, kept, runs = watched()
    before = condition(network, kept, runs)
    model = Classifier(network)
    if action == "evaluate":
        evaluate(model, (X, Y), THREAT, pgd_suite(2, 1))
    else:
        # A generator in a forward is nothing that a file holds.
        harden(model, (X, Y), threat=THREAT, recipe=STEP, budget="1epochs", exportable=False)
    assert condition(network, kept, runs) == before
