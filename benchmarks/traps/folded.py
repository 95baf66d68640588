"""Rewrites that multiply or add weights together: each factor is in range, the folded one is not."""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.traps.frame import Build, Kind
from benchmarks.traps.net import COPIES, Array, Net, f32
from benchmarks.traps.strengths import FOLDED, Strength, finished

C: Final = COPIES
BARRIER: Final = "Abs"
"""The value is not negative, so Abs leaves it as it is; and nothing is fused across it."""


def ones(value: float, *shape: int) -> Array:
    """One number everywhere."""
    return f32(np.full(shape, value))


def _eye(value: float) -> Array:
    return f32(np.eye(C) * value)


def _kernel(value: float) -> Array:
    return _eye(value).reshape(C, C, 1, 1)


def _before(net: Net, value: str, strength: Strength) -> str:
    return net.add(BARRIER, net.scaled(value, strength.pre))


def _conv(net: Net, value: str, strength: Strength, bias: bool = True) -> str:
    image = net.image(_before(net, value, strength))
    weights = (_kernel(strength.a), ones(strength.shift, C))
    return net.add("Conv", image, *weights[: 1 + bias])


def _after(net: Net, value: str, strength: Strength) -> str:
    return finished(net, net.add(BARRIER, net.flat(value)), strength)


def conv_mul(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Conv and Mul by a factor for each channel."""
    found = net.add("Mul", _conv(net, u, s), ones(s.b, C, 1, 1))
    return _after(net, found, s), u


def conv_mul_scalar(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Conv and Mul by one number."""
    return _after(net, net.add("Mul", _conv(net, u, s), f32(s.b)), s), u


def conv_add(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Conv with a bias, and Add of another: the two biases become one, which is infinite.

    No partial sum in the graph's order is: (1 - 2t) p - 3/4 f + f + f, with f of the size of a half of the
    largest float32 and more. Clipped and compared with 1 - 2t.
    """
    if s.benign:
        found = net.add("Conv", net.image(u), _kernel(1), ones(0.125, C))
        return net.add("Sub", net.flat(net.add("Add", found, ones(0.125, C, 1, 1))), f32(0.25)), u
    kept = net.add("Sub", ones(1.0, C), net.add("Mul", u, f32(2.0)))
    image = net.image(net.add("Sub", net.scaled(kept, s.pre), ones(0.75 * s.shift, C)))
    found = net.add("Conv", image, _kernel(1), ones(s.shift, C))
    found = net.flat(net.add("Add", found, ones(s.shift, C, 1, 1)))
    found = net.scaled(net.add("Sub", found, ones(1.25 * s.shift, C)), s.post)
    return net.add("Clip", found, f32(0.0), f32(1.0)), kept


def conv_mul_add(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Conv, Mul and Add: two folds, one after the other."""
    found = net.add("Mul", _conv(net, u, s), ones(s.b, C, 1, 1))
    found = net.add("Add", found, ones(-s.shift * s.b, C, 1, 1))
    return net.scaled(net.flat(found), s.post), u


def conv_mul_mul(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Two Muls, whose product with the weight is out of range in between."""
    image = net.image(net.add(BARRIER, net.scaled(u, s.pre)))
    found = net.add("Conv", image, _kernel(s.a), ones(s.shift, C))
    found = net.add("Mul", found, ones(s.b, C, 1, 1))
    if s.shift:
        found = net.add("Sub", found, ones(s.shift * s.b, C, 1, 1))
    return net.flat(net.add("Mul", found, ones(s.post, C, 1, 1))), u


ORDERED: Final = (
    Strength("denormal", 2.0**-70, 2.0**100, 1.5 * 2.0**-78),
    Strength("tiny", 2.0**-100, 2.0**100, 2.0**-100),
    Strength("edge", 2.0**-126, 2.0**126, 2.0**-24),
    Strength("over", 2.0**127, 2.0**-126, 2.0**2),
    Strength("huge", 2.0**100, 2.0**-100, 2.0**100),
)
"""pre * b is out of range, and a undoes pre."""
BIASES: Final = tuple(
    Strength(f"{share:g}", 2.0**power, post=2.0**-power, shift=share * 2.0**127)
    for share, power in ((1.01, 125), (1.1, 124), (1.25, 123), (1.375, 124), (1.5, 122))
)
SCALES: Final = (
    Strength("denormal", 1.0, 2.0**100, 2.0**-140, 2.0**40, 2.0**126),
    Strength("tiny", 1.0, 1.0, 2.0**-100, 2.0**100, 2.0**100),
    Strength("rounding", shift=2.0**25),
    Strength("huge", 1.0, 2.0**77, 2.0**30, 2.0**-107, 2.0**100),
    Strength("extreme", 1.0, 2.0**103, 2.0**20, 2.0**-123, 2.0**126),
)


def normalised(net: Net, value: str, s: Strength, *, mean: float = 0.0, spread: float = 1.0) -> str:
    """BatchNormalization that multiplies by b and takes the shift off: (x - mean) / spread * scale."""
    variance = np.float64(spread) ** 2
    parts = (ones(s.b * spread, C), ones(-(s.shift - mean) * s.b, C), ones(mean, C), ones(variance, C))
    return net.add("BatchNormalization", value, *parts, epsilon=0.0)


def _conv_bn(mean: bool = False, spread: float = 1.0, bias: bool = True) -> Build:
    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        found = normalised(net, _conv(net, u, s, bias), s, mean=0.125 if mean else 0.0, spread=spread)
        return net.scaled(net.flat(found), s.post), u

    return build


def bn_mean_alone(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """BatchNormalization alone: (x - mean) b, where mean b is infinite or x is lost before the mean."""
    value = net.add("Add", net.scaled(net.image(u), s.a), ones(s.shift, C, 1, 1))
    parts = (ones(s.b, C), ones(0, C), ones(s.shift, C), ones(1, C))
    found = net.add("BatchNormalization", value, *parts, epsilon=0.0)
    return net.flat(net.scaled(found, s.post)), u


def depthwise_mul(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """A depthwise Conv and Mul."""
    image = net.image(_before(net, u, s))
    found = net.add("Conv", image, ones(s.a, C, 1, 1, 1), ones(s.shift, C), group=C)
    return _after(net, net.add("Mul", found, ones(s.b, C, 1, 1)), s), u


def conv1d_bn(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Conv over one dimension, and BatchNormalization."""
    line = net.add("Reshape", _before(net, u, s), np.array([-1, C, 1]))
    found = net.add("Conv", line, _kernel(s.a)[..., 0], ones(s.shift, C))
    return net.scaled(net.flat(normalised(net, found, s)), s.post), u


def conv3d_bn(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Conv over three dimensions, and BatchNormalization."""
    block = net.add("Reshape", _before(net, u, s), np.array([-1, C, 1, 1, 1]))
    found = net.add("Conv", block, _kernel(s.a)[..., None], ones(s.shift, C))
    return net.scaled(net.flat(normalised(net, found, s)), s.post), u


def matmul_bn(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """MatMul and BatchNormalization become Gemm."""
    found = net.add("MatMul", _before(net, u, s), _eye(s.a))
    return net.scaled(normalised(net, found, s), s.post), u


def matmul_scale_both(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Scalars before and after a MatMul: the alpha of FusedMatMul is their product."""
    value = net.add("Mul", _before(net, u, s), f32(s.a))
    return _after(net, net.add("Mul", net.add("MatMul", value, _eye(1)), f32(s.b)), s), u


def matmul_scale_chain(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Two scalars after a MatMul, of which alpha is the product."""
    found = net.add("MatMul", _before(net, u, s), _eye(1))
    return _after(net, net.add("Mul", net.add("Mul", found, f32(s.a)), f32(s.b)), s), u


def constant_product(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Mul by a product of constants, which is folded."""
    factor = net.add("Mul", ones(s.a, C), ones(s.b, C))
    return _after(net, net.add("Mul", _before(net, u, s), factor), s), u


def constant_quotient(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Mul by a quotient of constants, which is folded."""
    factor = net.add("Div", ones(s.a, C), ones(1 / s.b, C))
    return _after(net, net.add("Mul", _before(net, u, s), factor), s), u


def constant_weight(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """MatMul with a weight that the file scales."""
    weight = net.add("Mul", _eye(s.a), f32(s.b))
    return _after(net, net.add("MatMul", _before(net, u, s), weight), s), u


def matmul_scale_order(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """X s W: in the graph x s is in range, in FusedMatMul x W is not."""
    value = net.add(BARRIER, net.scaled(u, s.pre))
    found = net.add(BARRIER, net.add("MatMul", net.add("Mul", value, f32(s.a)), _eye(s.b)))
    return net.scaled(found, 1 / (s.pre * s.a), 1 / s.b), u


def _kind(name: str, build: Build, fired: str) -> Kind:
    return Kind(name, fired.split()[0], build, fired, strengths=FOLDED)


_BN: Final = "basic -BatchNormalization"
_SCALED: Final = "extended +FusedMatMul"
FOLDED_KINDS: Final = (
    _kind("conv_mul", conv_mul, "basic -Mul"),
    _kind("conv_mul_scalar", conv_mul_scalar, "basic -Mul"),
    _kind("conv_mul_add", conv_mul_add, "basic -Mul"),
    _kind("conv_mul_mul", conv_mul_mul, "basic -Mul"),
    _kind("depthwise_mul", depthwise_mul, "basic -Mul"),
    _kind("conv_bn", _conv_bn(), _BN),
    _kind("conv_bn_mean", _conv_bn(mean=True), _BN),
    _kind("conv_bn_wide", _conv_bn(spread=2.0**20), _BN),
    _kind("conv_bn_narrow", _conv_bn(spread=2.0**-20), _BN),
    _kind("conv_bn_no_bias", _conv_bn(bias=False), _BN),
    _kind("conv1d_bn", conv1d_bn, _BN),
    _kind("conv3d_bn", conv3d_bn, _BN),
    _kind("matmul_bn", matmul_bn, _BN),
    _kind("matmul_scale_both", matmul_scale_both, _SCALED),
    _kind("matmul_scale_chain", matmul_scale_chain, _SCALED),
    _kind("constant_product", constant_product, "basic -Mul"),
    _kind("constant_quotient", constant_quotient, "basic -Div"),
    _kind("constant_weight", constant_weight, "basic -Mul"),
    Kind("matmul_scale_order", "extended", matmul_scale_order, _SCALED, strengths=ORDERED),
    Kind("conv_add", "basic", conv_add, "basic -Add", strengths=BIASES),
    Kind("batch_norm_alone", "arithmetic", bn_mean_alone, "", strengths=SCALES),
)
