"""The layers of torch.nn that classifiers use, and how each is expected to be bounded once it is exported."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS, SIDE = 8, 6
"""Of the maps that each layer gets."""


class Calls(nn.Module):
    """A function of torch's, as forwards call them."""

    def __init__(self, rule: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.rule(x)


class Attention(nn.Module):
    """Attention of places to places by `scaled_dot_product_attention`."""

    def __init__(self, masked: bool = False, causal: bool = False) -> None:
        super().__init__()
        self.into, self.masked, self.causal = nn.Linear(CHANNELS, 3 * CHANNELS), masked, causal

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, H W, C)."""
        query, key, value = (
            each.unflatten(2, (2, -1)).transpose(1, 2) for each in self.into(rows(x)).chunk(3, dim=2)
        )
        mask = torch.ones(SIDE**2, SIDE**2).tril() > 0 if self.masked else None
        found = functional.scaled_dot_product_attention(query, key, value, mask, is_causal=self.causal)
        return found.transpose(1, 2).flatten(2)


class OfRows(nn.Module):
    """A layer on places as a sequence; of several outputs the first."""

    def __init__(self, layer: nn.Module, itself: int = 1) -> None:
        super().__init__()
        self.layer, self.itself = layer, itself

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, H W, C)."""
        found = self.layer(*[rows(x)] * self.itself)
        first: Tensor = found[0] if isinstance(found, tuple) else found
        return first


class OfMeans(nn.Module):
    """A bilinear layer on the means of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(CHANNELS, CHANNELS, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 4)."""
        means = x.mean((2, 3))
        found: Tensor = self.layer(means, means)
        return found


def rows(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H W, C)."""
    return x.flatten(2).transpose(1, 2)


def line(layer: nn.Module) -> nn.Module:
    """A layer in one dimension."""
    return nn.Sequential(nn.Flatten(2), layer)


def block(layer: nn.Module) -> nn.Module:
    """A layer in three dimensions."""
    return nn.Sequential(nn.Unflatten(1, (2, 4)), layer)


def many_slopes() -> nn.Module:
    """PReLU as training leaves it."""
    layer = nn.PReLU(CHANNELS)
    nn.init.uniform_(layer.weight)
    return layer


C = CHANNELS
BOUNDED: dict[str, Callable[[], nn.Module]] = {
    "RReLU": nn.RReLU,
    "AdaptiveMaxPool2d(4)": lambda: nn.AdaptiveMaxPool2d(4),
    "Linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(C * SIDE**2, 7)),
    "LazyLinear": lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(7)),
    "Identity": nn.Identity,
    "Conv1d": lambda: line(nn.Conv1d(C, 4, 3)),
    "Conv2d": lambda: nn.Conv2d(C, 4, 3, padding=1),
    "Conv2d, dilated and grouped": lambda: nn.Conv2d(C, 4, 3, dilation=2, groups=4),
    "Conv2d, padding same": lambda: nn.Conv2d(C, 4, 3, padding="same"),
    "Conv2d, padding reflected": lambda: nn.Conv2d(C, 4, 3, padding=1, padding_mode="reflect"),
    "Conv2d, padding replicated": lambda: nn.Conv2d(C, 4, 3, padding=1, padding_mode="replicate"),
    "Conv2d, padding circular": lambda: nn.Conv2d(C, 4, 3, padding=1, padding_mode="circular"),
    "Conv3d": lambda: block(nn.Conv3d(2, 3, 2)),
    "LazyConv2d": lambda: nn.LazyConv2d(4, 3),
    "ConvTranspose1d": lambda: line(nn.ConvTranspose1d(C, 4, 3, stride=2)),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(C, 4, 3, stride=2, padding=1, output_padding=1),
    "ConvTranspose2d, grouped": lambda: nn.ConvTranspose2d(C, 4, 3, groups=2, dilation=2),
    "ConvTranspose3d": lambda: block(nn.ConvTranspose3d(2, 3, 2)),
    "Unfold": lambda: nn.Unfold(2),
    "MaxPool1d": lambda: line(nn.MaxPool1d(3)),
    "MaxPool2d": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "MaxPool2d, dilated": lambda: nn.MaxPool2d(2, dilation=2),
    "MaxPool3d": lambda: block(nn.MaxPool3d(2)),
    "AvgPool1d": lambda: line(nn.AvgPool1d(3)),
    "AvgPool2d": lambda: nn.AvgPool2d(3, 2, 1),
    "AvgPool2d, inside alone": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "AvgPool3d": lambda: block(nn.AvgPool3d(2)),
    "AdaptiveAvgPool1d": lambda: line(nn.AdaptiveAvgPool1d(4)),
    "AdaptiveAvgPool2d(1)": lambda: nn.AdaptiveAvgPool2d(1),
    "AdaptiveAvgPool2d(3)": lambda: nn.AdaptiveAvgPool2d(3),
    "AdaptiveAvgPool2d(4)": lambda: nn.AdaptiveAvgPool2d(4),
    "AdaptiveMaxPool1d": lambda: line(nn.AdaptiveMaxPool1d(4)),
    "AdaptiveMaxPool2d(1)": lambda: nn.AdaptiveMaxPool2d(1),
    "AdaptiveMaxPool2d(3)": lambda: nn.AdaptiveMaxPool2d(3),
    "AdaptiveMaxPool3d": lambda: block(nn.AdaptiveMaxPool3d(2)),
    "ReflectionPad1d": lambda: line(nn.ReflectionPad1d(2)),
    "ReflectionPad2d": lambda: nn.ReflectionPad2d((1, 2, 0, 1)),
    "ReflectionPad3d": lambda: block(nn.ReflectionPad3d(1)),
    "ReplicationPad1d": lambda: line(nn.ReplicationPad1d(2)),
    "ReplicationPad2d": lambda: nn.ReplicationPad2d(1),
    "ReplicationPad3d": lambda: block(nn.ReplicationPad3d(1)),
    "CircularPad2d": lambda: nn.CircularPad2d(1),
    "ZeroPad2d": lambda: nn.ZeroPad2d((1, -1, 2, 0)),
    "ConstantPad1d": lambda: line(nn.ConstantPad1d(2, 0.5)),
    "ConstantPad2d": lambda: nn.ConstantPad2d(1, 0.5),
    "ConstantPad3d": lambda: block(nn.ConstantPad3d(1, 0.5)),
    "ELU": nn.ELU,
    "SELU": nn.SELU,
    "CELU": lambda: nn.CELU(0.7),
    "Hardsigmoid": nn.Hardsigmoid,
    "Hardswish": nn.Hardswish,
    "Hardtanh": nn.Hardtanh,
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "PReLU": nn.PReLU,
    "PReLU of many slopes": many_slopes,
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
    "Mish": nn.Mish,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "Tanhshrink": nn.Tanhshrink,
    "BatchNorm1d": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(C * SIDE**2)),
    "BatchNorm2d": lambda: nn.BatchNorm2d(C),
    "BatchNorm3d": lambda: block(nn.BatchNorm3d(2)),
    "LazyBatchNorm2d": nn.LazyBatchNorm2d,
    "SyncBatchNorm": lambda: nn.SyncBatchNorm(C),
    "Dropout": nn.Dropout,
    "Dropout1d": lambda: line(nn.Dropout1d()),
    "Dropout2d": nn.Dropout2d,
    "Dropout3d": lambda: block(nn.Dropout3d()),
    "AlphaDropout": nn.AlphaDropout,
    "FeatureAlphaDropout": nn.FeatureAlphaDropout,
    "Upsample, nearest": lambda: nn.Upsample(scale_factor=2),
    "Upsample, nearest to a size": lambda: nn.Upsample(size=(9, 7)),
    "Upsample, nearest-exact": lambda: nn.Upsample(scale_factor=1.5, mode="nearest-exact"),
    "Upsample, linear": lambda: line(nn.Upsample(scale_factor=2, mode="linear")),
    "Upsample, bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "Upsample, trilinear": lambda: block(nn.Upsample(scale_factor=2, mode="trilinear")),
    "UpsamplingNearest2d": lambda: nn.UpsamplingNearest2d(scale_factor=2),
    "PixelShuffle": lambda: nn.PixelShuffle(2),
    "PixelUnshuffle": lambda: nn.PixelUnshuffle(2),
    "ChannelShuffle": lambda: nn.ChannelShuffle(2),
    "Flatten": nn.Flatten,
    "Unflatten": lambda: nn.Unflatten(1, (2, 4)),
    "amax": lambda: Calls(lambda x: x.amax((2, 3))),
    "max": lambda: Calls(lambda x: x.flatten(2).max(2)[0]),
    "amin": lambda: Calls(lambda x: x.amin(1)),
    "maximum": lambda: Calls(lambda x: torch.maximum(x, -0.5 * x)),
    "minimum": lambda: Calls(lambda x: torch.minimum(x[:, :4], x[:, 4:])),
    "repeat": lambda: Calls(lambda x: x.repeat(1, 2, 1, 1)),
    "flip": lambda: Calls(lambda x: x.flip(3)),
    "roll": lambda: Calls(lambda x: x.roll(1, 2)),
    "channels in another order": lambda: Calls(lambda x: x[:, [3, 1, 0]]),
    "cumsum": lambda: Calls(lambda x: x.cumsum(1)),
    "norm of order 1": lambda: Calls(lambda x: x.norm(p=1, dim=1)),
    "interpolate, area": lambda: Calls(lambda x: functional.interpolate(x, (3, 3), mode="area")),
}
"""Those that are bounded."""
REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "Bilinear": (OfMeans, "MatMul"),
    "GELU": (nn.GELU, "Mul"),
    "GELU by tanh": (lambda: nn.GELU("tanh"), "Mul, Pow"),
    "SiLU": (nn.SiLU, "Mul"),
    "GLU": (lambda: nn.GLU(1), "Mul"),
    "LogSigmoid": (nn.LogSigmoid, "Log"),
    "Softplus": (nn.Softplus, "Greater, Where"),
    "Softsign": (nn.Softsign, "Div"),
    "Softshrink": (nn.Softshrink, "Greater, Sign, Where"),
    "Hardshrink": (nn.Hardshrink, "LessOrEqual, Where"),
    "Threshold": (lambda: nn.Threshold(0.1, 0.3), "LessOrEqual, Where"),
    "Softmin": (lambda: nn.Softmin(1), "Softmax"),
    "Softmax": (lambda: nn.Softmax(1), "Softmax"),
    "Softmax2d": (nn.Softmax2d, "Softmax"),
    "LogSoftmax": (lambda: nn.LogSoftmax(1), "LogSoftmax"),
    "GroupNorm": (lambda: nn.GroupNorm(2, C), "InstanceNormalization"),
    "InstanceNorm1d": (lambda: line(nn.InstanceNorm1d(C)), "InstanceNormalization"),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(C, affine=True), "InstanceNormalization"),
    "InstanceNorm3d": (lambda: block(nn.InstanceNorm3d(2)), "InstanceNormalization"),
    "LayerNorm": (lambda: nn.LayerNorm([C, SIDE, SIDE]), "LayerNormalization"),
    "RMSNorm": (lambda: nn.RMSNorm(SIDE), "Mul, Pow, Reciprocal, Sqrt"),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), "Div, Mul, Pow"),
    "LPPool2d": (lambda: nn.LPPool2d(2, 2), "Mul, Pow, Sign"),
    "Upsample, bilinear, corners aligned": (
        lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        "Resize",
    ),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(scale_factor=2), "Resize"),
    "CosineSimilarity": (
        lambda: Calls(lambda x: nn.CosineSimilarity(1)(x[:, :4], x[:, 4:])),
        "Div, Mul, ReduceL2",
    ),
    "scaled_dot_product_attention": (Attention, "MatMul, Reshape, Softmax, Transpose"),
    "attention with a mask": (lambda: Attention(masked=True), "IsNaN"),
    "MultiheadAttention": (lambda: OfRows(nn.MultiheadAttention(C, 2, batch_first=True), 3), "Softmax"),
    "TransformerEncoderLayer": (
        lambda: OfRows(nn.TransformerEncoderLayer(C, 2, 16, batch_first=True)),
        "LayerNormalization",
    ),
    "TransformerEncoderLayer, norm first": (
        lambda: OfRows(
            nn.TransformerEncoderLayer(C, 2, 16, batch_first=True, norm_first=True, activation="gelu")
        ),
        "LayerNormalization",
    ),
    "normalize": (lambda: Calls(lambda x: functional.normalize(x, dim=1)), "Div, ReduceL2"),
    "logsumexp": (lambda: Calls(lambda x: x.logsumexp(1)), "ReduceLogSumExp"),
    "prod": (lambda: Calls(lambda x: x.prod(2)), "ReduceProd"),
    "einsum": (lambda: Calls(lambda x: torch.einsum("nchw,ndhw->ncd", x, x)), "Einsum"),
    "var": (lambda: Calls(lambda x: x.var((2, 3))), "Mul"),
    "where": (lambda: Calls(lambda x: torch.where(x > 0, x, 0.1 * x)), "Greater, Where"),
    "squeeze and excite": (lambda: Calls(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid()), "Mul"),
}
"""Those that are read, and the operators by which bounds refuse them."""
UNREAD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "Fold": (lambda: nn.Sequential(nn.Unfold(2, stride=2), nn.Fold((6, 6), 2, stride=2)), "Col2Im (no rule)"),
    "InstanceNorm2d with stored statistics": (
        lambda: nn.InstanceNorm2d(C, track_running_stats=True),
        "BatchNormalization (numbers that depend on the batch's size",
    ),
    "Upsample, bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), "Resize (mode=cubic)"),
    "interpolate, antialiased": (
        lambda: Calls(lambda x: functional.interpolate(x, (3, 3), mode="bilinear", antialias=True)),
        "Resize (antialias=1",
    ),
    "sort": (lambda: Calls(lambda x: x.flatten(1).sort(1)[0]), "TopK (no rule)"),
}
"""Those whose files can't be read, and what is said of them."""
UNEXPORTED: dict[str, Callable[[], nn.Module]] = {
    "FractionalMaxPool2d": lambda: nn.FractionalMaxPool2d(2, output_ratio=0.5),
    "AdaptiveAvgPool3d": lambda: block(nn.AdaptiveAvgPool3d(2)),
}
"""Those that torch 2.14 itself can't export in the sizes that are used here, and harden has nothing for."""
