"""Functions that exporters write as several nodes and runtimes fuse, and the layout of blocks of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks.traps.frame import Build, Kind
from benchmarks.traps.net import COPIES, Net, f32, i64
from benchmarks.traps.strengths import NORMS, VALUES, Strength, relieved, strained
from benchmarks.traps.values import kernel, through

C: Final = COPIES


def _gelu(net: Net, v: str) -> str:
    half = net.add("Erf", net.add("Div", v, f32(2.0**0.5)))
    return net.scaled(net.add("Mul", v, net.add("Add", half, f32(1.0))), 0.5)


def _bias_gelu(net: Net, v: str) -> str:
    return _gelu(net, net.add("Add", v, f32(np.full(C, 1e-3))))


def _fast_gelu(net: Net, v: str) -> str:
    cube = net.add("Pow", v, f32(3.0))
    inner = net.add("Mul", net.add("Add", v, net.scaled(cube, 0.044715)), f32((2 / np.pi) ** 0.5))
    outer = net.add("Add", net.add("Tanh", inner), f32(1.0))
    return net.add("Mul", net.scaled(v, 0.5), outer)


def _quick_gelu(net: Net, v: str) -> str:
    return net.add("Mul", v, net.add("Sigmoid", net.scaled(v, 1.702)))


def _last(net: Net, v: str) -> str:
    """One component alone: the sum of all is 0 after a normalisation."""
    return net.add("Mul", net.add("Abs", v), f32([0.0] * (C - 1) + [8.0]))


def _layer_norm(net: Net, v: str) -> str:
    ramp = net.add("Mul", v, f32(np.arange(C)))
    centred = net.add("Sub", ramp, net.add("ReduceMean", ramp, i64(-1)))
    variance = net.add("ReduceMean", net.add("Pow", centred, f32(2.0)), i64(-1))
    spread = net.add("Sqrt", net.add("Add", variance, f32(1e-5)))
    scaled = net.add("Mul", net.add("Div", centred, spread), f32(np.ones(C)))
    return _last(net, net.add("Add", scaled, f32(np.zeros(C))))


def _rms_norm(net: Net, v: str) -> str:
    square = net.add("ReduceMean", net.add("Pow", v, f32(2.0)), i64(-1))
    spread = net.add("Sqrt", net.add("Add", square, f32(1e-5)))
    return _last(net, net.add("Mul", net.add("Div", v, spread), f32(np.ones(C))))


def _hard_swish(net: Net, v: str) -> str:
    return net.add("Mul", v, net.add("HardSigmoid", v, alpha=1 / 6, beta=0.5))


def _attention_scale(net: Net, v: str) -> str:
    rows = net.add("Reshape", net.add("Mul", v, f32(np.arange(C))), i64(-1, 4, 4))
    scores = net.add("MatMul", rows, net.add("Transpose", rows, perm=[0, 2, 1]))
    weights = net.add("Softmax", net.add("Div", scores, f32(2.0)), axis=-1)
    return net.flat(net.add("MatMul", weights, rows))


def _compared(function: Callable[[Net, str], str]) -> Build:
    """The function of the value as it comes back from a strain, and of the value as it was."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = net.add("Abs", relieved(net, strained(net, u, s), s))
        return net.scaled(function(net, value), 4.0), net.scaled(function(net, u), 4.0)

    return build


def _function(name: str, function: Callable[[Net, str], str], fired: str, norm: bool = False) -> Kind:
    group = fired.split()[0] if fired else "arithmetic"
    return Kind(name, group, _compared(function), fired, strengths=NORMS if norm else VALUES)


def _conv(net: Net, v: str) -> str:
    return net.add("Conv", v, kernel(), f32(np.zeros(C)))


def _blocked(node: Callable[[Net, str], str]) -> Callable[[Net, str], str]:
    """A node between two convolutions, so that it takes and gives blocks of channels."""

    def pattern(net: Net, v: str) -> str:
        return net.flat(_conv(net, node(net, _conv(net, net.image(v)))))

    return pattern


def _pooled(kind: str, **attributes: Any) -> Callable[[Net, str], str]:
    return _blocked(lambda net, v: net.add(kind, v, **attributes))


def _concatenated(net: Net, v: str) -> str:
    both = net.add("Concat", _conv(net, v), _conv(net, v), axis=1)
    return net.add("Conv", both, f32(np.concatenate([np.eye(C)] * 2, 1).reshape(C, 2 * C, 1, 1) / 2))


def _batch_norm(net: Net, v: str) -> str:
    value = net.add("Relu", v)
    parts = (f32(np.full(C, 2.0)), f32(np.zeros(C)), f32(np.zeros(C)), f32(np.full(C, 4.0)))
    return net.add("BatchNormalization", value, *parts, epsilon=0.0)


def _resized(net: Net, v: str) -> str:
    wide = net.add(
        "Resize",
        v,
        "",
        f32([1, 1, 2, 2]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return net.add("MaxPool", wide, kernel_shape=[2, 2])


def _layout(name: str, pattern: Callable[[Net, str], str], fired: str) -> Kind:
    return Kind(name, "layout", through(pattern), fired)


_BLOCKS: Final = "all +com.microsoft.nchwc:"
COMPOSED_KINDS: Final = (
    _function("gelu", _gelu, "extended +Gelu"),
    _function("bias_gelu", _bias_gelu, "extended +BiasGelu"),
    _function("fast_gelu", _fast_gelu, "extended +FastGelu"),
    _function("quick_gelu", _quick_gelu, "extended +QuickGelu"),
    _function("layer_norm", _layer_norm, "extended +LayerNormalization", True),
    _function("rms_norm", _rms_norm, "extended +SimplifiedLayerNormalization", True),
    _function("hard_swish", _hard_swish, ""),
    _function("attention_scale", _attention_scale, "extended +FusedMatMul"),
    _layout("blocked_conv", lambda net, v: net.flat(_conv(net, net.image(v))), _BLOCKS + "Conv"),
    _layout("blocked_max_pool", _pooled("MaxPool", kernel_shape=[1, 1]), _BLOCKS + "MaxPool"),
    _layout("blocked_average_pool", _pooled("AveragePool", kernel_shape=[1, 1]), _BLOCKS + "AveragePool"),
    _layout("blocked_global_average", _pooled("GlobalAveragePool"), _BLOCKS + "GlobalAveragePool"),
    _layout("blocked_global_max", _pooled("GlobalMaxPool"), _BLOCKS + "GlobalMaxPool"),
    _layout("blocked_concat", lambda net, v: net.flat(_concatenated(net, net.image(v))), _BLOCKS + "Conv"),
    _layout("blocked_batch_norm", _blocked(_batch_norm), "all -BatchNormalization"),
    _layout("blocked_resize", _blocked(_resized), _BLOCKS + "Upsample"),
)
