"""Small networks with one trait each that users' networks have."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

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
    alone: bool = True  # the head alone makes the logits


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
    """BatchNorm that stays in inference mode independent of `train()`, as in detection backbones."""

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


class Resized(nn.Module):
    """Resizes and crops inside, for a backbone of another size."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x, size=(12, 12), mode="bilinear", antialias=False)
        logits: Tensor = self.body(x[:, :, 2:10, 2:10])
        return logits


class Contiguous(nn.Module):
    """Refuses images and activations in any memory order but the contiguous one, as `view` does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.fc = nn.Linear(256, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.norm(self.conv(x.view(-1).view(x.shape))).relu()
        logits: Tensor = self.fc(maps.view(maps.size(0), -1))
        return logits
