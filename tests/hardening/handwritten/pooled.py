"""Pools, paddings, sizes and activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.hardening.handwritten.built import Entry, stem


def maxout(x: Tensor) -> Any:
    return x.view(x.size(0), 2, 2, *x.shape[2:]).max(dim=2)[0]


def blurred(x: Tensor) -> Any:
    kernel = torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])) / 16
    return functional.conv2d(
        functional.pad(x, (1, 1, 1, 1), mode="reflect"),
        kernel.expand(4, 1, 3, 3).to(x.dtype),
        stride=2,
        groups=4,
    )


def generalised_mean(x: Tensor) -> Any:
    return functional.avg_pool2d(x.clamp(min=1e-6).pow(3), x.shape[-2:]).pow(1.0 / 3)


def mixed(x: Tensor) -> Any:
    return 0.3 * functional.max_pool2d(x, 2) + 0.7 * functional.avg_pool2d(x, 2)


def soft(x: Tensor) -> Any:
    weight = torch.exp(x)
    return functional.avg_pool2d(x * weight, 2) / functional.avg_pool2d(weight, 2)


def second_order(x: Tensor) -> Any:
    flat = x.flatten(2)
    product = torch.bmm(flat, flat.transpose(1, 2)) / flat.shape[2]
    return functional.normalize(torch.sign(product) * torch.sqrt(product.abs() + 1e-5), dim=1)


def unpooled(x: Tensor) -> Any:
    small, places = functional.max_pool2d(x, 2, return_indices=True)
    return functional.max_unpool2d(small, places, [2, 2])


def resized(x: Tensor) -> Any:
    x = functional.interpolate(x, size=(11, 7), mode="bicubic", align_corners=False)
    x = functional.interpolate(x, scale_factor=1.5)
    return functional.interpolate(x, size=6, mode="area")


def padded(x: Tensor) -> Any:
    x = functional.pad(x, (1, 2, -1, -2), value=0.5)
    return functional.pad(x, (0, 0, 0, 0, 1, 0))[:, :4]


ENTRIES: dict[str, Entry] = {
    "pool with empty windows": Entry(stem(nn.MaxPool2d(3, 3, 1, ceil_mode=True), 36)),
    "averages with a divisor": Entry(stem(lambda x: functional.avg_pool2d(x, 3, 2, 1, True, True, 7), 100)),
    "averages of pixels": Entry(stem(nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), 100)),
    "power average": Entry(stem(nn.Sequential(nn.ReLU(), nn.LPPool2d(2, 3, 2)), 36)),
    "adaptive average of odd sizes": Entry(stem(nn.AdaptiveAvgPool2d((5, 3)), 60)),
    "adaptive maximum of odd sizes": Entry(stem(nn.AdaptiveMaxPool2d((3, 5)), 60)),
    "generalised mean": Entry(stem(generalised_mean, 4)),
    "global maximum": Entry(stem(lambda x: torch.amax(x, dim=(2, 3)), 4)),
    "mixed": Entry(stem(mixed, 64)),
    "soft": Entry(stem(soft, 64)),
    "blurred": Entry(stem(blurred, 64)),
    "second order": Entry(stem(second_order, 16)),
    "top values": Entry(stem(lambda x: x.flatten(2).topk(5, dim=2)[0], 20)),
    "median": Entry(stem(lambda x: x.flatten(2).median(-1)[0], 4)),
    "unpooled": Entry(stem(unpooled, 256)),
    "fractional": Entry(stem(nn.FractionalMaxPool2d(2, output_size=4), 64), refused="fractional_max_pool2d"),
    "maxout": Entry(stem(maxout, 128)),
    "gated linear units": Entry(stem(nn.GLU(dim=1), 128)),
    "concatenated rectifiers": Entry(stem(lambda x: torch.cat((x.relu(), (-x).relu()), 1), 512)),
    "randomised slopes": Entry(stem(nn.RReLU(), 256)),
    "learnt slopes": Entry(stem(nn.PReLU(4), 256)),
    "hard and smooth": Entry(
        stem(nn.Sequential(nn.Hardswish(), nn.Mish(), nn.SiLU(), nn.CELU(), nn.Softplus()), 256)
    ),
    "shrinking": Entry(
        stem(nn.Sequential(nn.Hardshrink(0.1), nn.Softsign(), nn.Tanhshrink(), nn.LogSigmoid()), 256)
    ),
    "sine": Entry(stem(lambda x: torch.sin(30 * x), 256)),
    "swish by hand": Entry(stem(lambda x: x * torch.sigmoid(1.7 * x), 256)),
    "where": Entry(stem(lambda x: torch.where(x > 0, x, 0.1 * (x.exp() - 1)), 256)),
    "pixel unshuffle and shuffle": Entry(
        stem(nn.Sequential(nn.PixelUnshuffle(2), nn.ReLU(), nn.PixelShuffle(4)), 256)
    ),
    "channel shuffle": Entry(stem(nn.Sequential(nn.ChannelShuffle(2), nn.Dropout2d(0.2)), 256)),
    "resized": Entry(stem(resized, 144)),
    "padded": Entry(stem(padded, 220)),
    "rolled": Entry(stem(lambda x: x.roll((1, -2), dims=(2, 3)).flip(-1).transpose(2, 3), 256)),
    "one-hot bins": Entry(stem(lambda x: x * functional.one_hot((x > 0).long(), 2)[..., 1].to(x.dtype), 256)),
}
