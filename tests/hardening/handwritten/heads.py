"""Heads, norms and outputs: prototypes, capsules, experts, several exits, tied and normed weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from tests.hardening.handwritten.built import Built, Entry, built, conv, fc, noise, stem


class Prototypes(nn.Module):
    """Minus the squared distances to prototypes."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.embed, self.how, self.head = fc(192, 6), how, nn.Identity()
        self.centres = nn.Parameter(noise(3, 6))
        self.log_width = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Any:
        z = self.embed(x.flatten(1))
        if self.how == "cosine":
            return 16.0 * functional.linear(functional.normalize(z), functional.normalize(self.centres))
        if self.how == "cdist":
            return -torch.cdist(z, self.centres)
        if self.how == "radial":
            return torch.exp(-(z.unsqueeze(1) - self.centres).pow(2).sum(-1) * self.log_width.exp())
        if self.how == "similarity":
            return functional.cosine_similarity(z[:, None], self.centres[None], dim=-1) / 0.07
        return -((z[:, None, :] - self.centres[None]) ** 2).sum(dim=2)


class Capsules(nn.Module):
    """Three rounds of routing."""

    def __init__(self) -> None:
        super().__init__()
        self.primary = nn.Conv2d(3, 8, 4, 4)
        self.weight, self.head = nn.Parameter(0.1 * noise(3, 8, 4, 4)), nn.Identity()

    @staticmethod
    def squash(s: Tensor) -> Any:
        square = s.pow(2).sum(-1, keepdim=True)
        return square / (1 + square) * s / (square + 1e-8).sqrt()

    def forward(self, x: Tensor) -> Any:
        u = self.squash(self.primary(x).view(x.shape[0], -1, 4))
        votes = torch.einsum("nid,kide->nkie", u, self.weight)
        b = torch.zeros(x.shape[0], 3, 8, 1, device=x.device, dtype=x.dtype)
        for _ in range(3):
            v = self.squash((functional.softmax(b, dim=1) * votes).sum(2, keepdim=True))
            b = b + (votes * v).sum(-1, keepdim=True)
        return v.squeeze(2).norm(dim=-1)


def experts(net: Any, x: Tensor) -> Any:
    flat = x.flatten(1)
    answers = torch.stack([expert(flat) for expert in net.experts], dim=1)
    return (functional.softmax(net.gate(flat), -1).unsqueeze(-1) * answers).sum(1)


def top_experts(net: Any, x: Tensor) -> Any:
    """The best two of three, as a mask and not as a branch."""
    flat = x.flatten(1)
    values, places = net.gate(flat).topk(2, dim=-1)
    gates = torch.zeros(x.shape[0], 3, dtype=x.dtype).scatter(1, places, values.softmax(-1))
    return torch.einsum("nk,nkc->nc", gates, torch.stack([each(flat) for each in net.experts], 1))


class Exits(NamedTuple):
    early: Tensor
    late: Tensor


def exits(net: Any, x: Tensor) -> Exits:
    x = net.stem(x).relu()
    return Exits(net.first(x.mean((2, 3))), net.fc(x.flatten(1)))


def averaged(net: Any, x: Tensor) -> Any:
    return torch.stack([member(x) for member in net.members]).mean(dim=0)


def voted(net: Any, x: Tensor) -> Any:
    votes: Any = sum(functional.softmax(member(x), dim=1) for member in net.members)
    return torch.log(votes / 2)


def siamese(net: Any, x: Tensor) -> Any:
    left, right = net.stem(x).relu().flatten(1), net.stem(x.flip(-1)).relu().flatten(1)
    return net.fc(torch.cat((left + right, (left - right).abs()), dim=1))


class Tied(nn.Module):
    """A decoder's weights are the encoder's, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode, self.head = fc(192, 10), nn.Linear(192, 10, bias=False), fc(10)
        self.decode.weight = self.encode.weight

    def forward(self, x: Tensor) -> Any:
        flat = x.flatten(1)
        code = self.encode(flat).relu()
        rest = flat - code @ self.decode.weight
        return self.head(code + self.decode(rest))


def normed(apply: Callable[..., Any]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return nn.Sequential(apply(conv(3, 4, stride=2)), nn.ReLU(), nn.Flatten(), apply(fc(64)))

    return make


class Scaled(nn.Module):
    """Weights standardised in the forward, and a temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = conv(3, 4, stride=2), fc(64)
        self.temperature = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Any:
        w = self.conv.weight
        var, mean = torch.var_mean(w, dim=[1, 2, 3], keepdim=True, unbiased=False)
        x = functional.conv2d(x, (w - mean) * torch.rsqrt(var + 1e-10), self.conv.bias, 2, 1)
        return self.head(functional.relu(x).flatten(1)) / self.temperature


def sequence(*parts: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(conv(3, 4, stride=2), *parts, nn.ReLU(), nn.Flatten(), fc(64))


class OwnNorm(nn.Module):
    """A layer norm over channels, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Any:
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        return self.weight[:, None, None] * ((x - u) / torch.sqrt(s + 1e-6)) + self.bias[:, None, None]


def member() -> nn.Sequential:
    return nn.Sequential(conv(stride=2), nn.Tanh(), nn.Flatten(), fc(64))


def two() -> nn.ModuleList:
    return nn.ModuleList([member(), member()])


THREE = nn.ModuleList(fc(192) for _ in range(3))
ENTRIES: dict[str, Entry] = {
    **{
        f"prototypes, {how}": Entry(partial(Prototypes, how))
        for how in ("cosine", "cdist", "radial", "similarity", "squares")
    },
    "capsules": Entry(Capsules, head="primary"),
    "soft experts": Entry(built(experts, gate=fc(192, 3), experts=THREE), head="gate"),
    "the best experts": Entry(built(top_experts, gate=fc(192, 3), experts=THREE), head="gate"),
    "exits": Entry(built(exits, stem=conv(), first=fc(4), fc=fc(256)), output="late"),
    "exits by place": Entry(built(exits, stem=conv(), first=fc(4), fc=fc(256)), output=-1),
    "ensemble": Entry(built(averaged, members=two())),
    "votes": Entry(built(voted, members=two())),
    "siamese": Entry(built(siamese, stem=conv(stride=2), fc=fc(128))),
    "tied": Entry(Tied),
    "weight norm": Entry(normed(parametrizations.weight_norm)),
    "weight norm, old": Entry(normed(weight_norm)),
    "spectral norm": Entry(normed(parametrizations.spectral_norm)),
    "spectral norm, old": Entry(normed(spectral_norm)),
    "orthogonal": Entry(
        lambda: nn.Sequential(nn.Flatten(), parametrizations.orthogonal(fc(192, 6)), nn.ReLU(), fc(6))
    ),
    "standardised weights": Entry(Scaled),
    "probabilities": Entry(lambda: nn.Sequential(*member(), nn.Softmax(dim=1))),
    "log-probabilities": Entry(lambda: nn.Sequential(*member(), nn.LogSoftmax(dim=-1))),
    "one logit": Entry(lambda: nn.Sequential(conv(stride=2), nn.ReLU(), nn.Flatten(), fc(64, 1))),
    "bilinear": Entry(
        lambda: Built(
            lambda net, x: net.top(net.a(x.flatten(1)), net.b(x.flatten(1))),
            {"a": fc(192, 4), "b": fc(192, 4), "top": nn.Bilinear(4, 4, 3)},
        ),
        head="top",
    ),
    "group norm": Entry(sequence(nn.GroupNorm(2, 4))),
    "instance norm": Entry(sequence(nn.InstanceNorm2d(4, affine=True))),
    "local response norm": Entry(sequence(nn.LocalResponseNorm(3))),
    "layer norm": Entry(sequence(nn.LayerNorm([4, 4, 4]))),
    "a norm by hand": Entry(sequence(OwnNorm())),
    "batch norm without statistics": Entry(
        sequence(nn.BatchNorm2d(4, track_running_stats=False)), refused="rest of its batch"
    ),
    "root mean square norm": Entry(sequence(nn.RMSNorm([4, 4]))),
    "standardised rows": Entry(
        stem(lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + 1e-5), 256)
    ),
}
