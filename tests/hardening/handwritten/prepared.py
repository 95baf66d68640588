"""What comes before the layers: normalisation, colours, sizes, filters, wavelets, Fourier transforms."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.hardening.handwritten.built import Entry, built, conv, fc, noise, stem


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.body = nn.Sequential(conv(stride=2), nn.ReLU(), nn.Flatten(), fc(64))

    def forward(self, x: Tensor) -> Any:
        return self.body(x.sub(self.get_buffer("mean")).div_(self.get_buffer("std")))


def grey(net: Any, x: Tensor) -> Any:
    y = 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]
    return net.fc(net.conv(y).flatten(1))


def colours(net: Any, x: Tensor) -> Any:
    r, g, b = x.unbind(dim=1)
    top, low = x.max(dim=1)[0], x.min(dim=1)[0]
    saturation = (top - low) / (top + 1e-8)
    luma = torch.stack((0.299 * r + 0.587 * g + 0.114 * b, b - g, r - g, saturation), dim=-3)
    return net.fc(net.conv(luma).flatten(1))


def larger(net: Any, x: Tensor) -> Any:
    x = functional.interpolate(x, size=(16, 16), mode="bilinear", align_corners=False, antialias=True)
    return net.fc(net.conv(2 * x[..., 2:-2, 2:-2] - 1).flatten(1))


class Gabor(nn.Module):
    """Fixed filters in a buffer, as the stem."""

    def __init__(self) -> None:
        super().__init__()
        at = torch.arange(-2, 3).float()
        y, x = torch.meshgrid(at, at, indexing="ij")
        turned = [x * math.cos(a) + y * math.sin(a) for a in (0.0, 0.8, 1.6, 2.4)]
        kernel = torch.stack([torch.exp(-(x**2 + y**2) / 4) * torch.cos(2 * each) for each in turned])
        self.register_buffer("kernel", kernel.unsqueeze(1).repeat(1, 3, 1, 1) / 3)
        self.head = fc(64)

    def forward(self, x: Tensor) -> Any:
        x = functional.conv2d(x, self.get_buffer("kernel"), padding=2).abs()
        return self.head(functional.avg_pool2d(x, 2).flatten(1))


def wavelet(net: Any, x: Tensor) -> Any:
    """Haar's, by strided slices."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    bands = torch.cat([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], dim=1) / 2
    return net.fc(net.conv(bands).relu().flatten(1))


def cosine_transform(net: Any, x: Tensor) -> Any:
    n = torch.arange(8, dtype=x.dtype)
    basis = torch.cos(math.pi / 8 * (n + 0.5) * n.unsqueeze(1)) / 2
    return net.fc((basis @ x @ basis.t()).flatten(1))


def spectrum(net: Any, x: Tensor) -> Any:
    found = torch.fft.fftshift(torch.fft.fft2(net.conv(x), norm="ortho"), dim=(-2, -1))
    return net.fc(torch.log1p(found.abs()).flatten(1))


def filtered(net: Any, x: Tensor) -> Any:
    """A filter of real weights on the half spectrum."""
    seen = torch.fft.rfft2(net.conv(x), norm="ortho")
    return net.fc(
        torch.fft.irfft2(seen * net.weight.weight.view(1, 4, 8, 5), s=(8, 8), norm="ortho").flatten(1)
    )


def global_filter(net: Any, x: Tensor) -> Any:
    """Complex weights, as in global filter networks."""
    seen = torch.fft.rfft2(net.conv(x), norm="ortho")
    weight = torch.view_as_complex(net.weight.weight.view(4, 8, 5, 2))
    return net.fc(torch.fft.irfft2(seen * weight, s=(8, 8), norm="ortho").flatten(1))


def two_parts(net: Any, x: Tensor) -> Any:
    seen = torch.view_as_real(torch.fft.rfft(net.conv(x), dim=-1))
    return net.fc(torch.hypot(seen[..., 0], seen[..., 1]).flatten(1))


def by_parts(net: Any, x: Tensor) -> Any:
    seen = torch.fft.rfft(net.conv(x), dim=-1)
    return net.fc(torch.cat((seen.real, seen.imag), -1).flatten(1))


class FourierFeatures(nn.Module):
    """Random features of places, beside the pixels; the places are made in the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("b", noise(2, 4))
        self.conv, self.head = nn.Conv2d(11, 4, 1), fc(256)

    def forward(self, x: Tensor) -> Any:
        n, _, h, w = x.shape
        ys = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype)
        xs = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype)
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij"), -1)
        angles = 2 * math.pi * grid @ self.get_buffer("b").to(x.dtype)
        places = torch.cat((angles.sin(), angles.cos()), -1).permute(2, 0, 1).expand(n, -1, -1, -1)
        return self.head(self.conv(torch.cat((x, places), 1)).relu().flatten(1))


def coordinates(net: Any, x: Tensor) -> Any:
    n, _, h, w = x.size()
    ys = torch.arange(h).view(1, 1, h, 1).repeat(n, 1, 1, w).to(x) / (h - 1) * 2 - 1
    return net.fc(net.conv(torch.cat([x, ys], dim=1)).flatten(1))


class Transformed(nn.Module):
    """A spatial transformer: the network turns and shifts its own image."""

    def __init__(self) -> None:
        super().__init__()
        self.locate = nn.Sequential(nn.Flatten(), fc(192, 8), nn.ReLU(True), fc(8, 6))
        self.conv, self.head = conv(stride=2), fc(64)

    def forward(self, x: Tensor) -> Any:
        theta = self.locate(x).view(-1, 2, 3) + torch.eye(2, 3, dtype=x.dtype)
        grid = functional.affine_grid(theta, list(x.size()), align_corners=False)
        x = functional.grid_sample(x, grid, align_corners=False, padding_mode="border")
        return self.head(self.conv(x).relu().flatten(1))


def local_contrast(net: Any, x: Tensor) -> Any:
    mean = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    spread = (functional.avg_pool2d(x * x, 3, 1, 1, count_include_pad=False) - mean * mean).clamp_min(0)
    return net.fc(net.conv((x - mean) / (spread + 1e-2).sqrt()).flatten(1))


def edges(net: Any, x: Tensor) -> Any:
    dx, dy = x[..., 1:] - x[..., :-1], torch.diff(x, dim=2)
    size = torch.sqrt(dx[..., :-1, :] ** 2 + dy[..., :-1] ** 2 + 1e-6)
    return net.fc(net.conv(size).flatten(1))


def binned(net: Any, x: Tensor) -> Any:
    """A soft histogram of every colour."""
    centres = torch.linspace(0, 1, 6).view(1, 1, 6, 1).to(x)
    return net.fc(torch.exp(-50 * (x.flatten(2).unsqueeze(2) - centres) ** 2).mean(-1).flatten(1))


def counted(net: Any, x: Tensor) -> Any:
    return net.fc(torch.stack([torch.histc(each, 6, 0, 1) for each in x]))


def stacked(net: Any, x: Tensor) -> Any:
    """Four turned copies as a larger batch, brought together by a mean."""
    views = torch.cat([torch.rot90(x, k, (2, 3)) for k in range(4)])
    return net.fc(net.conv(views).relu().flatten(1)).view(4, x.shape[0], -1).mean(0)


PARTS = {"conv": conv(), "fc": fc(256)}
ENTRIES: dict[str, Entry] = {
    "normalised": Entry(Normalised),
    "grey": Entry(built(grey, conv=conv(1), fc=fc(256))),
    "grey images": Entry(lambda: nn.Sequential(conv(1), nn.ReLU(), nn.Flatten(), fc(256)), channels=1),
    "12 pixels": Entry(lambda: nn.Sequential(conv(stride=3), nn.ReLU(), nn.Flatten(), fc(64)), size=12),
    "other colours": Entry(built(colours, conv=conv(4), fc=fc(256))),
    "larger": Entry(built(larger, conv=conv(stride=3), fc=fc(64))),
    "Gabor": Entry(Gabor),
    "wavelet": Entry(built(wavelet, conv=conv(12), fc=fc(64))),
    "cosine transform": Entry(built(cosine_transform, fc=fc(192))),
    "spectrum": Entry(built(spectrum, **PARTS)),
    "filtered": Entry(built(filtered, weight=nn.Linear(160, 1, bias=False), **PARTS), head="fc"),
    "global filter": Entry(built(global_filter, weight=nn.Linear(320, 1, bias=False), **PARTS), head="fc"),
    "complex in two parts": Entry(built(two_parts, conv=conv(), fc=fc(160)), refused="aten.hypot"),
    "complex by its parts": Entry(built(by_parts, conv=conv(), fc=fc(320))),
    "Fourier features": Entry(FourierFeatures),
    "coordinates": Entry(built(coordinates, conv=conv(4), fc=fc(256))),
    "spatial transformer": Entry(Transformed),
    "local contrast": Entry(built(local_contrast, **PARTS)),
    "edges": Entry(built(edges, conv=conv(), fc=fc(196))),
    "soft histogram": Entry(built(binned, fc=fc(18))),
    "histogram": Entry(built(counted, fc=fc(6)), refused="expected any batch size to pass"),
    "turned copies": Entry(built(stacked, **PARTS)),
    "gamma": Entry(stem(lambda x: (x.sigmoid() + 1e-4) ** 0.45, 256)),
}
