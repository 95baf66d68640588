"""Networks with state: hooks, attributes and buffers that the forward sets, tensors changed in place."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from tests.hardening.handwritten.built import Body, Entry, fc


class Hooked(Body):
    """A hook that replaces a layer's output, and one that keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Tensor] = {}
        self.conv.register_forward_hook(lambda module, inputs, output: 2 * output)
        self.hidden.register_forward_hook(self.keep)

    def keep(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.kept["hidden"] = output.detach()


class Remembering(Body):
    """Attributes and counters that the forward sets."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.shape: tuple[int, ...] | None = None
        self.losses: dict[str, list[float]] = defaultdict(list)

    def step(self, x: Tensor) -> Any:
        self.calls += 1
        self.shape = tuple(x.shape)
        self.losses["step"].append(0.5)
        return x


class Keeping(Body):
    """The last activations as an attribute, as for Grad-CAM."""

    last: Tensor | None = None

    def step(self, x: Tensor) -> Any:
        self.last = x
        return x


class InPlace(Body):
    def step(self, x: Tensor) -> Any:
        x = x.clone()
        x[:, 1:3, :2] *= 0.5
        x[:, 0].add_(1.0)
        x[x > 1.5] = 1.5
        return x.mul_(2).clamp_(-3, 3)


class Filled(Body):
    """A tensor that is made empty and filled part by part."""

    def step(self, x: Tensor) -> Any:
        out = torch.zeros_like(x)
        for at in range(x.shape[1]):
            out[:, at] = x[:, at] * (at + 1)
        out[..., ::2] += x[..., 1::2]
        return out


class Buffered(Body):
    """A mask made in the forward, once."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: Tensor | None
        self.register_buffer("mask", None, persistent=False)

    def step(self, x: Tensor) -> Any:
        if self.mask is None:
            self.mask = torch.ones(x.shape[1:], dtype=x.dtype).tril()
        return x * self.mask


class RunningCentre(Body):
    """A centre that moves in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(4))

    def step(self, x: Tensor) -> Any:
        if self.training:
            with torch.no_grad():
                self.get_buffer("centre").mul_(0.9).add_(x.mean((0, 2, 3)), alpha=0.1)
        return x - self.get_buffer("centre")[None, :, None, None]


class DropPath(Body):
    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        self.p = p

    def step(self, x: Tensor) -> Any:
        if self.p == 0.0 or not self.training:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1) < 1 - self.p
        return x * keep / (1 - self.p)


class Generated(Body):
    """A small network makes the weights of another, for each image its own."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = fc(4, 16)
        self.order = ("maker",)

    def step(self, x: Tensor) -> Any:
        weights = self.maker(x.mean((2, 3))).view(-1, 4, 4)
        return torch.einsum("nij,njhw->nihw", weights, x)


ENTRIES: dict[str, Entry] = {
    "hooked": Entry(Hooked),
    "remembering": Entry(Remembering),
    "keeping": Entry(Keeping),
    "in place": Entry(InPlace),
    "filled": Entry(Filled),
    "a buffer made in the forward": Entry(Buffered),
    "a running centre": Entry(RunningCentre),
    "stochastic depth": Entry(DropPath),
    "generated weights": Entry(Generated, head="head"),
}
