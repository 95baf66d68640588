"""Convolutional networks by hand: residual, dense, separable, shuffled, attentive, and U-shaped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.hardening.handwritten.built import Entry, built, conv, fc


def residual(net: Any, x: Tensor) -> Any:
    x = net.stem(x)
    x = functional.relu(x + net.b(functional.relu(net.norm(net.a(x)))))
    return net.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def preactivated(net: Any, x: Tensor) -> Any:
    x = net.stem(x)
    x = net.short(x) + net.a(net.norm(x).relu_())
    return net.fc(x.mean((2, 3)))


def dense(net: Any, x: Tensor) -> Any:
    seen = [net.stem(x)]
    for layer in net.layers:
        seen.append(torch.relu(layer(torch.cat(seen, 1))))
    return net.fc(torch.cat(seen, dim=1).mean([-2, -1]))


def squeezed(net: Any, x: Tensor) -> Any:
    x = net.stem(x)
    b, c, _, _ = x.size()
    gate = net.gate(functional.adaptive_avg_pool2d(x, 1).view(b, c)).view(b, c, 1, 1)
    return net.fc((x * gate.expand_as(x)).flatten(1))


def block_attention(net: Any, x: Tensor) -> Any:
    x = net.stem(x)
    pooled = torch.cat((x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]), 1)
    channel = torch.sigmoid(net.mlp(x.amax((2, 3))) + net.mlp(x.mean((2, 3))))
    return net.fc((x * net.spatial(pooled).sigmoid() * channel[:, :, None, None]).flatten(1))


def ghost(net: Any, x: Tensor) -> Any:
    primary = functional.relu(net.primary(x))
    x = torch.cat([primary, functional.relu(net.cheap(primary))], dim=1)[:, :6]
    return net.fc(x.mean((2, 3)))


def shuffled(net: Any, x: Tensor) -> Any:
    left, right = net.stem(x).chunk(2, dim=1)
    x = torch.cat((left, net.b(net.a(right))), dim=1)
    n, c, h, w = x.shape
    x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
    return net.fc(x.flatten(1))


def inception(net: Any, x: Tensor) -> Any:
    branches = [net.one(x), net.three(x), net.five(x), net.pool(functional.max_pool2d(x, 3, 1, 1))]
    return net.fc(torch.cat([functional.relu(each, inplace=True) for each in branches], 1).flatten(1))


def u_shaped(net: Any, x: Tensor) -> Any:
    a = functional.relu(net.a(x))
    b = functional.relu(net.b(functional.max_pool2d(a, 2)))
    up = functional.interpolate(b, scale_factor=2, mode="bilinear", align_corners=True)
    return net.fc(net.c(torch.cat((a, up), 1)).flatten(1))


def autoencoded(net: Any, x: Tensor) -> Any:
    code = net.encode(x).flatten(1)
    picture = net.decode(code.view(-1, 4, 4, 4))
    return {"logits": net.fc(code), "picture": picture}


def pyramid(net: Any, x: Tensor) -> Any:
    x = net.stem(x)
    levels = [functional.adaptive_max_pool2d(x, size).flatten(1) for size in (1, 2, 3)]
    return net.fc(torch.cat(levels, 1))


def inverted(net: Any, x: Tensor) -> Any:
    x = net.stem(x)
    x = x + net.project(functional.relu6(net.depth(functional.hardswish(net.expand(x)))))
    return net.fc(x.mean(dim=(2, 3)))


class ConvNeXt(nn.Module):
    """A block by hand: depthwise 7x7, LayerNorm with channels last, layer scale, drop path."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 2, 2)
        self.depth, self.norm = conv(6, 6, 7, groups=6), nn.LayerNorm(6, eps=1e-6)
        self.up, self.down = fc(6, 12), fc(12, 6)
        self.gamma = nn.Parameter(1e-1 * torch.ones(6))
        self.head = fc(6)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = (self.gamma * self.down(functional.gelu(self.up(y)))).permute(0, 3, 1, 2)
        if self.training:  # stochastic depth
            keep = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(0.8)
            y = y / 0.8 * keep
        return self.head((x + y).mean([2, 3]))


class Highway(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = fc(192, 8)
        self.layers: Any = nn.ModuleList([nn.ModuleDict({"h": fc(8, 8), "t": fc(8, 8)}) for _ in range(2)])
        self.last = fc(8)

    def forward(self, x: Tensor) -> Any:
        x = torch.tanh(self.first(torch.flatten(x, 1)))
        for layer in self.layers:
            gate = torch.sigmoid(layer["t"](x))
            x = gate * torch.relu(layer["h"](x)) + (1.0 - gate) * x
        return self.last(x)


def squeeze_gate() -> nn.Module:
    return nn.Sequential(fc(4, 2), nn.ReLU(inplace=True), fc(2, 4), nn.Hardsigmoid())


ENTRIES: dict[str, Entry] = {
    "residual": Entry(built(residual, stem=conv(), a=conv(4), b=conv(4), norm=nn.BatchNorm2d(4), fc=fc(4))),
    "pre-activated": Entry(
        built(
            preactivated,
            stem=conv(),
            a=conv(4, 6, stride=2),
            short=conv(4, 6, 1, 2),
            norm=nn.BatchNorm2d(4),
            fc=fc(6),
        )
    ),
    "dense": Entry(built(dense, stem=conv(), layers=nn.ModuleList([conv(4), conv(8)]), fc=fc(12))),
    "squeeze and excite": Entry(built(squeezed, stem=conv(), gate=squeeze_gate(), fc=fc(256))),
    "block attention": Entry(
        built(block_attention, stem=conv(), mlp=squeeze_gate(), spatial=conv(2, 1, 7), fc=fc(256))
    ),
    "ghost": Entry(built(ghost, primary=conv(3, 4), cheap=conv(4, 4, groups=4), fc=fc(6))),
    "shuffle": Entry(built(shuffled, stem=conv(), a=conv(2, 2, groups=2), b=conv(2, 2, 1), fc=fc(256))),
    "inception": Entry(
        built(
            inception, one=conv(3, 2, 1), three=conv(3, 2), five=conv(3, 2, 5), pool=conv(3, 2, 1), fc=fc(512)
        )
    ),
    "U": Entry(built(u_shaped, a=conv(), b=conv(4, 4), c=conv(8, 2), fc=fc(128))),
    "autoencoder": Entry(
        built(autoencoded, encode=conv(3, 4, stride=2), decode=nn.ConvTranspose2d(4, 3, 4, 2, 1), fc=fc(64)),
    ),
    "spatial pyramid": Entry(built(pyramid, stem=conv(), fc=fc(56))),
    "inverted residual": Entry(
        built(
            inverted,
            stem=conv(),
            expand=conv(4, 8, 1),
            depth=conv(8, 8, groups=8),
            project=conv(8, 4, 1),
            fc=fc(4),
        )
    ),
    "ConvNeXt": Entry(ConvNeXt),
    "highway": Entry(Highway),
    "dilated": Entry(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, dilation=2),
            nn.ELU(),
            nn.Conv2d(4, 4, 3, padding="same", dilation=2),
            nn.Flatten(),
            fc(64),
        )
    ),
    "transposed": Entry(
        lambda: nn.Sequential(
            nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1), nn.LeakyReLU(0.2), nn.Flatten(), fc(1024)
        )
    ),
    "all convolutions": Entry(
        lambda: nn.Sequential(
            conv(3, 6, stride=2), nn.ReLU(), conv(6, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
    ),
    "volumes": Entry(
        built(
            lambda net, x: net.fc(net.conv(x.unsqueeze(1)).flatten(1)),
            conv=nn.Conv3d(1, 2, 3, padding=1),
            fc=fc(384),
        )
    ),
    "rows by a 1d convolution": Entry(
        built(
            lambda net, x: net.fc(net.conv(x.flatten(2)).max(-1).values), conv=nn.Conv1d(3, 6, 5, 2), fc=fc(6)
        )
    ),
    "reflected and circular": Entry(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
            nn.SELU(),
            nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
            nn.ReflectionPad2d(1),
            nn.Flatten(),
            fc(400),
        )
    ),
}
