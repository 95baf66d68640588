"""What people do in Python: dictionaries of layers, functional calls, scripts, casts, own functions."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn import functional

from tests.hardening.handwritten.built import Body, Entry, built, conv, fc, noise


class Chosen(nn.Module):
    """Layers by name, chosen by configuration."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleDict({"small": conv(stride=2), "large": conv(3, 4, 5, 2)})
        self.bends: dict[str, Any] = {"relu": functional.relu, "gelu": functional.gelu}
        self.head = fc(64)

    def forward(self, x: Tensor, scale: float = 1.0, *, features: bool = False) -> Any:
        x = self.layers[self.config["kind"]](x)
        x = self.bends[self.config["bend"]](x * scale).flatten(1)
        return (self.head(x), x) if features else self.head(x)


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(0.1 * noise(192, 8)), nn.Parameter(0.1 * noise(8, 8))])
        self.scales = nn.ParameterDict({"a": nn.Parameter(torch.ones(8)), "b": nn.Parameter(torch.zeros(8))})
        self.head = fc(8)

    def forward(self, x: Tensor) -> Any:
        x = x.reshape(len(x), -1)
        for weight in self.weights:
            x = torch.relu(x @ weight)
        return self.head(torch.addcmul(self.scales["b"], x, self.scales["a"]))


class Autocast(Body):
    def step(self, x: Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = x @ torch.eye(4)
        return x.float()


class Cast(Body):
    def step(self, x: Tensor) -> Any:
        return x.float() * torch.tensor(0.5)


class Doubled(Body):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x).double()


def bent(x: Tensor, slope: float) -> Any:
    return torch.where(x > 0.2, x, x * slope)


def script(part: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # people's code has it all the same
        return torch.jit.script(part)


class Scripted(Body):
    def __init__(self) -> None:
        super().__init__()
        self.bend = script(bent)

    def step(self, x: Tensor) -> Any:
        return self.bend(x, 0.3)


class ScriptedPart(Body):
    def __init__(self) -> None:
        super().__init__()
        self.part = script(nn.Sequential(nn.ReLU(), nn.AvgPool2d(1)))

    def step(self, x: Tensor) -> Any:
        return self.part(x)


class ScriptedAndMeasured(ScriptedPart):
    """`len(x)` where torch.export reads no bytecode, since it reads none of a script."""

    def forward(self, x: Tensor) -> Any:
        return self.head(torch.relu(self.hidden(self.step(torch.relu(self.conv(x))).view(len(x), -1))))


class Flattened(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)


class ScriptedSizes(ScriptedPart):
    def __init__(self) -> None:
        super().__init__()
        self.tail = script(Flattened())

    def step(self, x: Tensor) -> Any:
        return self.tail(self.part(x))


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0].clamp(-1, 1)


class Custom(Body):
    def step(self, x: Tensor) -> Any:
        return x + 0.1 * Straight.apply(x - 0.3)


class Detached(Body):
    """A straight-through estimator by detach, and a skip without gradient."""

    def step(self, x: Tensor) -> Any:
        return x + (x.tanh() - x).detach() + 0.1 * x.detach()


class Checkpointed(Body):
    def step(self, x: Tensor) -> Any:
        return torch.utils.checkpoint.checkpoint(torch.tanh, x, use_reentrant=False)


class Lightning(nn.Module):
    """The shape of a LightningModule: hyperparameters, a logger, a criterion, a metric."""

    def __init__(self) -> None:
        super().__init__()
        self.hparams = {"lr": 1e-3}
        self.model, self.criterion = Body(), nn.CrossEntropyLoss()
        self.logged: list[tuple[str, float]] = []

    def log(self, name: str, value: float) -> None:
        self.logged.append((name, value))

    def forward(self, x: Tensor) -> Any:
        self.log("images", float(len(x)))
        return self.model(x)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Any:
        return self.criterion(self(batch[0]), batch[1])


class Checked(Body):
    """Shapes that are asserted and unpacked, and a branch on them."""

    def step(self, x: Tensor) -> Any:
        assert x.ndim == 4, f"{x.ndim} dimensions"
        n, c, h, w = x.shape
        if h != w or c % 2:
            raise ValueError(f"{h} x {w}")
        return x.view(n, c, -1).squeeze().reshape(n, c, h, w) if n > 1 else x


class MonteCarlo(Body):
    def step(self, x: Tensor) -> Any:
        return functional.dropout(x, 0.3, training=True)


class Item(Body):
    def step(self, x: Tensor) -> Any:
        return x / x.abs().max().item()


class Numpy(Body):
    def step(self, x: Tensor) -> Any:
        import numpy as np

        return x * torch.from_numpy(np.tri(4, dtype=np.float32)).to(x.dtype)


class Mapped(Body):
    """torch.func: a norm of each image's own."""

    def step(self, x: Tensor) -> Any:
        return torch.vmap(lambda image: image / (1 + image.norm()))(x)


def functional_only(net: Any, x: Tensor) -> Any:
    weights = dict(net.inner.named_parameters())
    return torch.func.functional_call(net.inner, weights, (x.flatten(1),))


def lambdas() -> nn.Module:
    class Lambda(nn.Module):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: Tensor) -> Any:
            return self.function(x)

    return nn.Sequential(
        OrderedDict(
            scale=Lambda(lambda x: 2 * x - 1),
            flat=nn.Flatten(),
            hidden=fc(192, 8),
            bend=Lambda(torch.relu),
            fc=fc(8),
        )
    )


def twice() -> nn.Module:
    layer = nn.Sequential(fc(8, 8), nn.ReLU())
    return nn.Sequential(nn.Flatten(), fc(192, 8), layer, layer, copy.deepcopy(layer), fc(8))


ENTRIES: dict[str, Entry] = {
    "chosen": Entry(lambda: Chosen({"kind": "large", "bend": "gelu"})),
    "lists of parameters": Entry(Listed),
    "autocast": Entry(Autocast, refused="leave autocast"),
    "a function of its own": Entry(Custom),
    "detached": Entry(Detached),
    "a cast": Entry(Cast),
    "double logits": Entry(Doubled),
    "a scripted function": Entry(Scripted),
    "a scripted part": Entry(ScriptedPart),
    "a scripted part and len": Entry(ScriptedAndMeasured, refused="write x.shape[0] for len(x)"),
    "a scripted part that reads sizes": Entry(
        ScriptedSizes, refused="whose scripted part 'tail' makes the number of images a constant"
    ),
    "checkpointed": Entry(Checkpointed),
    "Lightning": Entry(Lightning),
    "checked shapes": Entry(Checked),
    "Monte Carlo dropout": Entry(MonteCarlo, refused="between two forwards"),
    "an item": Entry(Item, refused="rest of its batch"),
    "numpy constants": Entry(Numpy),
    "mapped": Entry(Mapped),
    "functional": Entry(built(functional_only, inner=nn.Sequential(fc(192, 8), nn.Tanh(), fc(8)))),
    "lambdas": Entry(lambdas),
    "a layer twice": Entry(twice),
}
