"""The table of traits: what users' networks do, one network each."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from tests.models.zoo import (
    CLASSES,
    Attentive,
    Buffers,
    Case,
    CustomAutograd,
    FrozenBatchNorm,
    MoreInTraining,
    OwnNormalisation,
    Resized,
    Result,
    Shared,
    TwoHeads,
    Wrapped,
    body,
    compiled,
)


def compiled_inside() -> nn.Module:
    network = body()
    conv = compiled(network.get_submodule("conv"))
    return nn.Sequential(OrderedDict(conv=conv, rest=compiled(network[1:])))


def compiled_in_place() -> nn.Module:
    network = body()
    network.compile(backend="eager")
    return network


def partly_frozen() -> nn.Module:
    """BatchNorm in inference mode and a layer without gradient, set from outside."""
    network = body().train()
    network.get_submodule("norm").eval()
    network.get_submodule("conv").requires_grad_(False)
    return network


def normed(apply: Callable[[nn.Module], object]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        network = body()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the old style is what is tested
            apply(network.get_submodule("hidden"))
            apply(network.get_submodule("fc"))
        # Once through, so that the norms' tensors hang in a graph, as in a network that was in use.
        network(torch.rand(2, 3, 8, 8))
        return network

    return make


def convolutional() -> nn.Module:
    """No linear layer: the classes come from a 1x1 convolution, as in SqueezeNet."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 8, 3, stride=2, padding=1),
            relu=nn.ReLU(),
            top=nn.Conv2d(8, CLASSES, 1),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
        )
    )


def with_groups() -> nn.Module:
    network = body()
    network[1] = nn.Sequential(nn.GroupNorm(2, 4), nn.Dropout2d(0.5))
    network[5] = nn.Sequential(nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.5))
    return network


TRAITS: dict[str, Case] = {
    "plain": Case(body, "fc", mean=(0.4, 0.5, 0.6)),
    "tuple": Case(lambda: Wrapped(lambda z, x: (z, x)), "body.fc", output=0),
    "tuple, the last": Case(lambda: Wrapped(lambda z, x: (x.mean(), z)), "body.fc", output=-1),
    "dict with logits": Case(lambda: Wrapped(lambda z, x: {"aux": x, "logits": z}), "body.fc"),
    "dict": Case(lambda: Wrapped(lambda z, x: {"out": z, "aux": x}), "body.fc", output="out"),
    "dataclass": Case(lambda: Wrapped(lambda z, x: Result(z)), "body.fc", output="scores"),
    "more in training": Case(MoreInTraining, "body.fc"),
    "frozen BatchNorm": Case(FrozenBatchNorm, "body.fc"),
    "partly frozen": Case(partly_frozen, "fc"),
    "weight norm": Case(normed(parametrizations.weight_norm), "fc"),
    "weight norm, old": Case(normed(weight_norm), "fc"),
    "spectral norm": Case(normed(parametrizations.spectral_norm), "fc"),
    "spectral norm, old": Case(normed(spectral_norm), "fc"),
    "shared": Case(Shared, "fc"),
    "custom autograd": Case(CustomAutograd, "body.fc"),
    "buffers": Case(Buffers, "body.fc"),
    "own normalisation": Case(OwnNormalisation, "body.fc"),
    "grey": Case(lambda: body(channels=1), "fc", channels=1, mean=(0.3,)),
    "one logit": Case(lambda: body(1), "fc", classes=2),
    "one logit, flat": Case(
        lambda: nn.Sequential(OrderedDict(body=body(1), flat=nn.Flatten(0))), "body.fc", classes=2
    ),
    "2 classes": Case(lambda: body(2), "fc", classes=2),
    "1000 classes": Case(lambda: body(1000), "fc", classes=1000),
    "float64": Case(lambda: body().double(), "fc", mean=(0.4, 0.5, 0.6)),
    "bfloat16": Case(lambda: body().bfloat16(), "fc", mean=(0.4, 0.5, 0.6)),
    "float16": Case(lambda: body().half(), "fc"),
    "parallel": Case(lambda: nn.DataParallel(body()), "fc"),
    "compiled": Case(lambda: compiled(body()), "fc"),
    "compiled inside": Case(compiled_inside, "rest.fc"),
    "compiled in place": Case(compiled_in_place, "fc"),
    "groups and dropout": Case(with_groups, "fc"),
    "no BatchNorm": Case(lambda: body(batch_norm=False), "fc", train=False),
    "head named": Case(TwoHeads, "body.fc", named=True),
    "convolutional head": Case(convolutional, "top"),
    "attention": Case(Attentive, "head"),
    "resized inside": Case(Resized, "body.fc"),
}
