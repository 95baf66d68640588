"""The head: found or named, and never a wrong layer without an error."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harden.errors import InputError
from harden.models import Classifier, copied
from harden.models.unwrap import named_parts, unwrap

pytestmark = pytest.mark.usefixtures("rng_untouched")

X = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def linear(inputs: int, outputs: int) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(inputs)
        return nn.Linear(inputs, outputs)


def convolution(inputs: int, outputs: int, size: int = 1) -> nn.Conv2d:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(inputs)
        return nn.Conv2d(inputs, outputs, size, padding=size // 2)


def compiled(module: nn.Module) -> nn.Module:
    made: object = torch.compile(module, backend="eager")
    assert isinstance(made, nn.Module)
    return made


class Timm(nn.Module):
    """As timm's networks: `get_classifier` says which layer it is, and it is not the last by position."""

    def __init__(self, told: Callable[[Timm], Any]) -> None:
        super().__init__()
        self.classifier = linear(48, 5)
        self.other = linear(5, 3)
        self.told = told

    def get_classifier(self) -> Any:
        return self.told(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


@pytest.mark.parametrize(
    ("told", "head"),
    [
        (lambda network: network.classifier, "classifier"),
        (lambda network: (network.classifier, network.other), "classifier"),
        (lambda network: nn.Identity(), "other"),  # num_classes=0
        (lambda network: nn.Linear(1, 1, device="meta"), "other"),  # not a part of the network
        (lambda network: (), "other"),
        (lambda network: None, "other"),
        (lambda network, missing: None, "other"),
    ],
)
def test_timm_says_which_layer_it_is(told: Callable[..., Any], head: str) -> None:
    model = Classifier(Timm(told))
    assert model.head_name == head
    assert ("timm" in model.describe()) == (head == "classifier")


def test_a_users_get_classifier_that_wants_arguments_is_not_timms() -> None:
    class Own(Timm):
        def get_classifier(self, name: str) -> Any:  # type: ignore[override]  # what is tested
            return self.other

    assert Classifier(Own(lambda network: None)).head_name == "other"


def test_without_a_linear_layer_the_last_1x1_convolution_is_the_head() -> None:
    """SqueezeNet: convolution, ReLU, average. Features are averaged over places, at any size."""
    body = convolution(3, 6, 3)
    network = nn.Sequential(body, convolution(6, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = Classifier(network)
    assert model.head_name == "1"
    features = model.features(X)
    assert features.shape == (2, 6)
    torch.testing.assert_close(features, body(X).mean((2, 3)))
    large = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert model.features(large).shape == (2, 6)
    assert "head '1', Conv2d 6 -> 5 (the last convolution)" in model.describe()


def test_a_linear_layer_is_preferred_to_a_later_convolution() -> None:
    network = nn.Sequential(nn.Flatten(), linear(48, 5), nn.Unflatten(1, (5, 1, 1)), convolution(5, 5))
    assert Classifier(network).head_name == "1"


@pytest.mark.parametrize("network", [nn.Sequential(nn.Flatten()), nn.Sequential(convolution(3, 5, 3))])
def test_no_head_is_an_error(network: nn.Module) -> None:
    with pytest.raises(InputError) as caught:
        Classifier(network)
    assert caught.value.instead == "name it: Classifier(network, head=...)"
    Classifier(network, head="0")


# The wrong layer


def test_a_layer_that_does_not_give_the_logits_is_refused_unless_named() -> None:
    """A squeeze-and-excitation's linear layer in a network whose head is a convolution, for instance."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = linear(3, 3)
            self.top = convolution(3, 5)

        def forward(self, x: Tensor) -> Tensor:
            gate = self.gate(x.mean((2, 3))).sigmoid()
            logits: Tensor = self.top(x * gate[:, :, None, None]).mean((2, 3))
            return logits

    with pytest.raises(InputError) as caught:
        Classifier(Gated()).features(X)
    assert caught.value.seen == "the head 'gate' gives 3 values and the network 5 logits"
    assert "head=" in caught.value.instead
    assert Classifier(Gated(), head="gate").features(X).shape == (2, 3)
    assert Classifier(Gated(), head="top").features(X).shape == (2, 3)


def test_a_head_that_runs_twice_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = linear(48, 5)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc(x.flatten(1)) + self.fc(x.flip(3).flatten(1))
            return logits

    model = Classifier(Twice())
    assert model(X).shape == (2, 5)
    with pytest.raises(InputError, match="the head 'fc' ran 2 times"):
        model.features(X)


def test_a_head_of_one_logit_is_right() -> None:
    model = Classifier(nn.Sequential(nn.Flatten(), linear(48, 1)))
    assert model(X).shape == (2, 2)
    assert torch.equal(model.features(X), X.flatten(1))


def test_a_head_may_be_called_by_keyword_and_may_work_in_place() -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.top = nn.Sequential(nn.ReLU(inplace=True), linear(48, 5))

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.top(input=x.flatten(1) - 0.5)
            return logits

    features = Classifier(Keyword(), head="top").features(X)
    assert torch.equal(features, X.flatten(1) - 0.5)


# Wrappers


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": compiled,
    "parallel": nn.DataParallel,
    "both": lambda network: nn.DataParallel(compiled(network)),
}


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_wrapped_network_is_taken_out_and_shares_its_parameters(name: str) -> None:
    network = nn.Sequential(nn.Flatten(), linear(48, 5))
    wrapped = WRAPPERS[name](network)
    model = Classifier(wrapped)
    assert model.network is network
    assert unwrap(wrapped) is network
    assert model.head_name == "1"
    assert model.head is network[1]
    assert torch.equal(model(X), network(X))
    with torch.no_grad():
        for weight in network[1].parameters():
            weight.add_(1)
    assert torch.equal(model(X), network(X))


def test_a_distributed_network_is_taken_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    from torch import distributed

    store = tmp_path_factory.mktemp("store") / "store"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    try:
        network = nn.Sequential(nn.Flatten(), linear(48, 5))
        model = Classifier(nn.parallel.DistributedDataParallel(network), head="module.1")
        assert model.network is network
        assert model.head_name == "1"
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("name", ["body.1", "body._orig_mod.1", "module.body._orig_mod.1"])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_head_in_a_compiled_part_has_one_name_before_and_after_copying(name: str) -> None:
    parts = nn.Sequential(nn.Flatten(), linear(48, 5), linear(5, 5))
    network = nn.Sequential(OrderedDict(body=compiled(parts)))
    outer: nn.Module = nn.DataParallel(network) if name.startswith("module.") else network
    model = Classifier(outer, head=name)
    assert model.head_name == "body.1"
    assert model.head is parts[1]
    assert [path for path, _ in named_parts(outer)] == ["", "body", "body.0", "body.1", "body.2"]


def test_a_copy_of_a_network_with_compiled_parts_has_its_head() -> None:
    network = nn.Sequential(nn.Flatten(), compiled(nn.Sequential(linear(48, 6), linear(6, 5))))
    model = Classifier(network)
    twin = copied(model)
    assert model.head_name == twin.head_name == "1.1"
    assert twin.head is twin.network.get_submodule("1.1")
    assert torch.equal(twin.features(X), linear(48, 6)(X.flatten(1)))


# What was found


def test_describe_says_in_one_line_what_was_found() -> None:
    network = nn.Sequential(nn.Flatten(), linear(48, 5))
    assert Classifier(network).describe() == (
        "Sequential, 245 float32 weights; head '1', Linear 48 -> 5 (the last linear layer); "
        "logits as returned; no normalisation"
    )
    model = Classifier(network.double(), (0.5, 0.25, 0.1), (0.2, 0.2, 0.2), head="1", output="scores")
    assert model.describe() == (
        "Sequential, 245 float64 weights; head '1', Linear 48 -> 5 (as named); "
        "logits part 'scores' of what is returned; mean (0.5, 0.25, 0.1), std (0.2, 0.2, 0.2)"
    )
    bare = Classifier(nn.Sequential(nn.Flatten()), head="0")
    assert bare.describe().startswith("Sequential, no weights; head '0', Flatten (as named); ")


def test_what_is_no_network_is_refused() -> None:
    scripted = torch.jit.ScriptModule()
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    meta = nn.Linear(4, 2, device="meta")
    cases: list[tuple[Any, str]] = [
        (lambda x: x, "a function for a network"),
        (nn.Linear, "Linear, a class, for a network"),
        (None, "a NoneType for a network"),
        (scripted, "a torch.jit.ScriptModule"),
        (lazy, "the lazy parameter '1.weight' without a shape"),
        (meta, "the parameter 'weight' on the meta device"),
        (Classifier(nn.Sequential(linear(4, 2))), "a harden.Classifier in a harden.Classifier"),
    ]
    for network, seen in cases:
        with pytest.raises(InputError) as caught:
            Classifier(network)
        assert caught.value.seen == seen
        assert caught.value.instead
