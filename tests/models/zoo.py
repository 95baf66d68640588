"""Small networks with one trait each that users' networks have, and the large ones that they start from."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

CLASSES = 3


@dataclass(frozen=True)
class Case:
    """A network and how it is wrapped."""

    make: Callable[[], nn.Module]
    head: str  # that is found, or named
    channels: int = 3
    size: int = 8
    classes: int = CLASSES
    named: bool = False
    output: str | int | None = None
    mean: tuple[float, ...] | None = None
    train: bool = True  # the mode that the user left it in


def body(classes: int = CLASSES, channels: int = 3, batch_norm: bool = True) -> nn.Sequential:
    """Convolution, BatchNorm, two dense layers."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels, 4, 3, stride=2, padding=1),
            norm=nn.BatchNorm2d(4) if batch_norm else nn.Identity(),
            relu=nn.ReLU(),
            flat=nn.Flatten(),
            hidden=nn.Linear(64, 6),
            bend=nn.Tanh(),
            fc=nn.Linear(6, classes),
        )
    )


class Wrapped(nn.Module):
    """Gives back the logits as `wrap` says."""

    def __init__(self, wrap: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body = body()
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        logits = self.body(x)
        return self.wrap(logits, x)


@dataclass
class Result:
    scores: Tensor
    hidden: Tensor | None = None


class MoreInTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, x: Tensor) -> Any:
        logits = self.body(x)
        return {"logits": logits, "aux": logits} if self.training else logits


class Shared(nn.Module):
    """One convolution used twice, and two linear layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first = nn.Linear(192, 192)
        self.second = nn.Linear(192, 192)
        self.second.weight = self.first.weight
        self.fc = nn.Linear(192, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.conv(self.conv(x)).flatten(1)
        logits: Tensor = self.fc(self.second(self.first(flat).tanh()).tanh())
        return logits


class Square(torch.autograd.Function):
    """x * |x|, with a backward of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.abs()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient: Tensor = 2 * x.abs() * gradients[0]
        return gradient


class CustomAutograd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(Square.apply(x))
        return logits


class Buffers(nn.Module):
    """Buffers with the names of the graph's input and output, and with a forward that says `x`."""

    names = ("image", "logits", "x", "batch", "mean")

    def __init__(self) -> None:
        super().__init__()
        for name in self.names:
            self.register_buffer(name, torch.rand(1, 3, 8, 8))
        self.body = body()

    def forward(self, x: Tensor) -> Tensor:
        for name in self.names:
            x = 0.8 * x + 0.2 * self.get_buffer(name)
        logits: Tensor = self.body(x)
        return logits


class OwnNormalisation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1), persistent=False)
        self.body = body()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body((x - self.get_buffer("mean")) / 0.25)
        return logits


class FrozenBatchNorm(nn.Module):
    """BatchNorm that stays in inference mode whatever `train()` is told, as in detection backbones."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()
        self.norm = self.body.get_submodule("norm")
        self.norm.get_buffer("running_mean").add_(0.3)
        self.norm.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> FrozenBatchNorm:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        return logits


class TwoHeads(nn.Module):
    """The last linear layer by position makes no logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()
        self.rotation = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        return logits


class Attentive(nn.Module):
    """Patches, attention, LayerNorm, a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.token.expand(x.shape[0], -1, -1), patches), dim=1)
        logits: Tensor = self.head(self.block(tokens)[:, 0])
        return logits


def compiled(module: nn.Module) -> nn.Module:
    # torch's annotation names a function; it returns a module that compiles when it is first called.
    made: object = torch.compile(module, backend="eager")
    assert isinstance(made, nn.Module)
    return made


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


class Resized(nn.Module):
    """Resizes and crops inside, for a backbone of another size."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x, size=(12, 12), mode="bilinear", antialias=False)
        logits: Tensor = self.body(x[:, :, 2:10, 2:10])
        return logits


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


def _torchvision(name: str, size: int, classes: int = 10) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from harden.cli.networks import torchvision_network

        return torchvision_network(name, classes, (3, size, size))

    return make


def _large(name: str, head: str, size: int = 32, classes: int = 10) -> Case:
    return Case(
        _torchvision(name, size, classes), head, size=size, classes=classes, mean=(0.485, 0.456, 0.406)
    )


TORCHVISION: dict[str, Case] = {
    "resnet18": _large("resnet18", "fc"),
    "resnet18, 1000 classes, 64 pixels": _large("resnet18", "fc", 64, 1000),
    "resnet50": _large("resnet50", "fc", 32, 1000),
    "mobilenet_v3_small": _large("mobilenet_v3_small", "classifier.3"),
    "mobilenet_v3_large": _large("mobilenet_v3_large", "classifier.3", 64),
    "efficientnet_b0": _large("efficientnet_b0", "classifier.1"),
    "convnext_tiny": _large("convnext_tiny", "classifier.2", 64),
    "vit_b_16": _large("vit_b_16", "heads.head", 32),
    "squeezenet1_1": _large("squeezenet1_1", "classifier.1", 64),
    "googlenet": _large("googlenet", "fc"),
    "densenet121": _large("densenet121", "classifier"),
    "swin_t": _large("swin_t", "head", 64),
    "shufflenet_v2_x0_5": _large("shufflenet_v2_x0_5", "fc"),
    "regnet_y_400mf": _large("regnet_y_400mf", "fc"),
}


def _timm(name: str, size: int, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=10, **options)
        return network

    return make


TIMM: dict[str, Case] = {
    "resnet10t": Case(_timm("resnet10t", 32), "fc", size=32, classes=10),
    "mobilenetv3_small_050": Case(_timm("mobilenetv3_small_050", 32), "classifier", size=32, classes=10),
    "resnetv2_50": Case(_timm("resnetv2_50", 32), "head.fc", size=32, classes=10),
    "convnext_atto": Case(_timm("convnext_atto", 64), "head.fc", size=64, classes=10),
    "vit_tiny_patch16_224": Case(_timm("vit_tiny_patch16_224", 32, img_size=32), "head", size=32, classes=10),
    "deit_tiny_distilled_patch16_224": Case(
        _timm("deit_tiny_distilled_patch16_224", 32, img_size=32), "head", size=32, classes=10
    ),
}
