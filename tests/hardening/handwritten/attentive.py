"""Transformers, mixers and recurrent networks by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.hardening.handwritten.built import Entry, built, conv, fc, noise


class Attention(nn.Module):
    """Many heads, as in the tutorials."""

    def __init__(self, width: int = 8, heads: int = 2, fused: bool = False) -> None:
        super().__init__()
        self.heads, self.scale, self.fused = heads, (width // heads) ** -0.5, fused
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), fc(width, width)

    def forward(self, x: Tensor) -> Any:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        if self.fused:
            x = functional.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class VisionTransformer(nn.Module):
    """Patches by a convolution, a class token, positions, blocks before which is normalised."""

    def __init__(self, fused: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token, self.position = nn.Parameter(noise(1, 1, 8)), nn.Parameter(noise(1, 5, 8))
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        self.attention, self.mlp = Attention(fused=fused), nn.Sequential(fc(8, 16), nn.GELU(), fc(16, 8))
        self.head = fc(8)

    def forward(self, x: Tensor) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.position
        x = x + self.attention(self.norms[0](x))
        return self.head((x + self.mlp(self.norms[1](x)))[:, 0])


def unfolded(net: Any, x: Tensor) -> Any:
    patches = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(x.shape[0], 4, -1)
    return net.fc(net.embed(patches).relu().mean(1))


def by_columns(net: Any, x: Tensor) -> Any:
    return net.fc(net.embed(functional.unfold(x, 3, stride=2).transpose(1, 2)).tanh().amax(1))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 2, 2)
        self.tokens = nn.Sequential(fc(16, 8), nn.GELU(), fc(8, 16))
        self.channels = nn.Sequential(nn.LayerNorm(6), fc(6, 12), nn.GELU(), fc(12, 6))
        self.norm, self.head = nn.LayerNorm(6), fc(6)

    def forward(self, x: Tensor) -> Any:
        x = torch.einsum("bchw->bhwc", self.patches(x)).flatten(1, 2)
        x = x + self.tokens(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(x)).mean(dim=1))


class Windowed(nn.Module):
    """Attention in windows with a table of relative positions, after a shift, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attend, self.head = nn.Conv2d(3, 8, 1), fc(8, 24), fc(8)
        self.table = nn.Parameter(noise(49, 2))
        at = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")).flatten(1)
        apart = (at[:, :, None] - at[:, None, :] + 3).permute(1, 2, 0)
        self.register_buffer("index", apart[..., 0] * 7 + apart[..., 1])

    def forward(self, x: Tensor) -> Any:
        x = torch.roll(self.embed(x).permute(0, 2, 3, 1), shifts=(-2, -2), dims=(1, 2))
        b, h, w, c = x.shape
        x = x.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 16, c)
        q, k, v = self.attend(x).view(-1, 16, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.get_buffer("index").view(-1)].view(16, 16, 2).permute(2, 0, 1)
        x = (functional.softmax(q @ k.mT / 2 + bias, dim=-1) @ v).transpose(1, 2).reshape(-1, 16, c)
        return self.head(x.view(b, -1, c).mean(1))


class LastState(nn.Module):
    """Rows of an image as a sequence."""

    def __init__(self, kind: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        self.rnn = kind(24, 6, batch_first=True, **options)
        self.head = fc(6 * (2 if options.get("bidirectional") else 1))

    def forward(self, x: Tensor) -> Any:
        states, _ = self.rnn(x.permute(0, 2, 1, 3).reshape(x.shape[0], 8, 24))
        return self.head(states[:, -1])


def by_cell(net: Any, x: Tensor) -> Any:
    h = torch.zeros(x.size(0), 6, dtype=x.dtype, device=x.device)
    for row in x.flatten(2).unbind(1):
        h = net.cell(row, h)
    return net.fc(h)


class ConvLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gates, self.head = conv(5, 16), fc(64)

    def forward(self, x: Tensor) -> Any:
        h = c = x.new_zeros(x.shape[0], 4, 4, 4)
        for at in range(3):  # the colours as time
            step = functional.avg_pool2d(x[:, at : at + 1], 2)
            i, f, o, g = torch.chunk(self.gates(torch.cat([step, h], dim=1)), 4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.head(h.flatten(1))


def solved(net: Any, x: Tensor) -> Any:
    """An ordinary differential equation, by Heun's steps."""
    y = net.embed(x.flatten(1))
    for _ in range(3):
        a = net.slope(y).tanh()
        y = y + 0.1 * (a + net.slope(y + 0.2 * a).tanh())
    return net.fc(y)


def iterated(net: Any, x: Tensor) -> Any:
    """A fixed point, by a fixed number of steps (a deep equilibrium)."""
    given = net.embed(x.flatten(1))
    y = torch.zeros_like(given)
    for _ in range(4):
        y = torch.relu(given + 0.5 * net.slope(y))
    return net.fc(y)


def until_small(net: Any, x: Tensor) -> Any:
    y = net.embed(x.flatten(1))
    while y.norm() > 1:
        y = 0.5 * net.slope(y)
    return net.fc(y)


def linear_attention(net: Any, x: Tensor) -> Any:
    x = net.embed(x.flatten(2).transpose(1, 2))
    q, k = functional.elu(net.q(x)) + 1, functional.elu(net.k(x)) + 1
    out = torch.einsum("nld,nlm,nqd->nqm", k, x, q) / torch.einsum("nqd,nd->nq", q, k.sum(1)).unsqueeze(-1)
    return net.fc(out.mean(1))


def non_local(net: Any, x: Tensor) -> Any:
    x = net.stem(x)
    theta, phi = net.theta(x).flatten(2).transpose(1, 2), net.phi(x).flatten(2)
    mixed = torch.softmax(torch.matmul(theta, phi) / math.sqrt(theta.shape[-1]), -1) @ x.flatten(2).transpose(
        1, 2
    )
    return net.fc((x + mixed.transpose(1, 2).reshape(x.shape)).flatten(1))


def masked(net: Any, x: Tensor) -> Any:
    x = net.embed(x.permute(0, 2, 1, 3).flatten(2))
    future = torch.full((8, 8), float("-inf")).triu(1)
    out, _ = net.attention(x, x, x, attn_mask=future, need_weights=False)
    return net.fc(out[:, -1])


def torchs_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


BODY = {"embed": fc(192, 8), "slope": fc(8, 8), "fc": fc(8)}
ENTRIES: dict[str, Entry] = {
    "vision transformer": Entry(VisionTransformer),
    "fused attention": Entry(lambda: VisionTransformer(fused=True)),
    "patches by unfold": Entry(built(unfolded, embed=fc(48, 8), fc=fc(8))),
    "patches as columns": Entry(built(by_columns, embed=fc(27, 8), fc=fc(8))),
    "mixer": Entry(Mixer),
    "shifted windows": Entry(Windowed),
    "linear attention": Entry(built(linear_attention, embed=fc(3, 4), q=fc(4, 4), k=fc(4, 4), fc=fc(4))),
    "non-local": Entry(built(non_local, stem=conv(), theta=conv(4, 2, 1), phi=conv(4, 2, 1), fc=fc(256))),
    "masked attention": Entry(
        built(masked, embed=fc(24, 8), attention=nn.MultiheadAttention(8, 2, batch_first=True), fc=fc(8))
    ),
    "torch's encoder": Entry(
        built(
            lambda net, x: net.fc(net.encode(net.embed(x.flatten(2).mT)).mean(1)),
            embed=fc(3, 8),
            encode=torchs_encoder(),
            fc=fc(8),
        )
    ),
    "LSTM over rows": Entry(lambda: LastState(nn.LSTM, bidirectional=True)),
    "GRU over rows": Entry(lambda: LastState(nn.GRU, num_layers=2)),
    "plain recurrent": Entry(lambda: LastState(nn.RNN, nonlinearity="relu")),
    "a cell in a loop": Entry(built(by_cell, cell=nn.GRUCell(64, 6), fc=fc(6))),
    "convolutional LSTM": Entry(ConvLSTM),
    "a differential equation": Entry(built(solved, **BODY)),
    "an equilibrium": Entry(built(iterated, **BODY)),
    "steps until the values are small": Entry(
        built(until_small, **BODY), refused="data-dependent control flow"
    ),
}
