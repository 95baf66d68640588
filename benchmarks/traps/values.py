"""Rewrites that keep real numbers as they are: what they pass on is out of range, or rounded away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks.traps.frame import Build, Kind
from benchmarks.traps.net import COPIES, Array, Net, f32, i64
from benchmarks.traps.strengths import Strength, relieved, strained

C: Final = COPIES
Pattern = Callable[[Net, str], str]
"""From a value >= 0, (N, 16), the same value."""


def through(pattern: Pattern, barrier: bool = False) -> Build:
    """The pattern between a strain and its relief; with a barrier, nothing is fused across its ends."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = strained(net, u, s)
        if barrier:
            value = net.add("Abs", value)
        value = pattern(net, value)
        if barrier:
            value = net.add("Abs", value)
        return relieved(net, value, s), u

    return build


def eye(value: float = 1.0) -> Array:
    """Weights that keep each component."""
    return f32(np.eye(C) * value)


def kernel(value: float = 1.0) -> Array:
    """The same for a Conv of one place."""
    return eye(value).reshape(C, C, 1, 1)


def _identities(net: Net, v: str) -> str:
    return net.add("Identity", net.add("Identity", v))


def _dropout(net: Net, v: str) -> str:
    return net.add("Dropout", v)


def _slice(net: Net, v: str) -> str:
    return net.add("Slice", v, i64(0), i64(np.iinfo(np.int64).max), i64(1), i64(1))


def _unsqueezed_constant(net: Net, v: str) -> str:
    weight = net.add("Unsqueeze", f32(np.full(C, 0.5)), i64(0))
    return net.scaled(net.add("Mul", v, weight), 2.0)


def _cast(net: Net, v: str) -> str:
    return net.add("Cast", v, to=1)


def _reshape_fused(net: Net, v: str) -> str:
    batch = net.add("Gather", net.add("Shape", v), np.array(0))
    shape = net.add("Concat", net.add("Unsqueeze", batch, i64(0)), i64(4), i64(4), axis=0)
    return net.flat(net.add("Reshape", v, shape))


def _noop(kind: str, value: float) -> Pattern:
    def pattern(net: Net, v: str) -> str:
        return net.add(kind, v, f32(value))

    return pattern


def _relu_clip(net: Net, v: str) -> str:
    return net.add("Clip", net.add("Relu", v), f32(-1.0))


def _gemm_sum(net: Net, v: str) -> str:
    return net.add("Sum", net.add("Gemm", v, eye(0.5)), net.scaled(v, 0.5))


def _gemm_transpose(net: Net, v: str) -> str:
    return net.add("Gemm", net.add("Transpose", v, perm=[1, 0]), eye(), transA=1)


def _matmul_transpose(net: Net, v: str) -> str:
    column = net.add("Reshape", v, i64(-1, C, 1))
    found = net.add("MatMul", net.add("Transpose", column, perm=[0, 2, 1]), eye())
    return net.flat(found)


def _matmul_add(net: Net, v: str) -> str:
    return net.add("Add", net.add("MatMul", v, eye()), f32(np.zeros(C)))


def _matmul_scale(kind: str) -> Pattern:
    def pattern(net: Net, v: str) -> str:
        found = net.add(kind, net.add("MatMul", v, eye()), f32(0.5 if kind == "Mul" else 2.0))
        return net.scaled(net.add("Abs", found), 2.0)

    return pattern


def _common_subexpression(net: Net, v: str) -> str:
    both = net.add("Add", net.scaled(v, 0.25), net.scaled(v, 0.25))
    return net.scaled(both, 2.0)


def _expand(net: Net, v: str) -> str:
    return net.add("Expand", v, i64(1, 1))


def _gather_to_slice(net: Net, v: str) -> str:
    value = net.add("Reshape", v, i64(-1, 2, 8))
    parts = [net.add("Gather", value, i64(at), axis=1) for at in (0, 1)]
    return net.flat(net.add("Concat", *parts, axis=1))


def _gather_to_split(net: Net, v: str) -> str:
    value = net.add("Reshape", v, i64(-1, 2, 8))
    parts = [net.add("Gather", value, np.array(at), axis=1) for at in (0, 1)]
    return net.add("Concat", *parts, axis=1)


def _transposes(net: Net, v: str) -> str:
    value = net.add("Transpose", net.image(v, 4, 2, 2), perm=[0, 2, 3, 1])
    return net.flat(net.add("Transpose", net.add("Relu", value), perm=[0, 3, 1, 2]))


def _where_not(net: Net, v: str) -> str:
    condition = net.add("Not", net.add("Less", v, f32(-1.0)))
    return net.add("Where", condition, v, net.add("Neg", v))


def _reciprocal_product(net: Net, v: str) -> str:
    divisor = net.add("Add", v, f32(1.0))
    return net.add("Mul", net.add("Mul", net.add("Div", f32(1.0), divisor), v), divisor)


def _cast_chain(net: Net, v: str) -> str:
    return net.add("Cast", net.add("Cast", net.add("Cast", v, to=11), to=1), to=1)


def _conv_then(kind: str, *inputs: Array, conv_bias: bool = True, **attributes: Any) -> Pattern:
    def pattern(net: Net, v: str) -> str:
        weights = (kernel(), f32(np.zeros(C)))[: 1 + conv_bias]
        return net.flat(net.add(kind, net.add("Conv", net.image(v), *weights), *inputs, **attributes))

    return pattern


def _conv_add_relu(net: Net, v: str) -> str:
    image = net.image(v)
    parts = [net.add("Conv", image, kernel(share), f32(np.zeros(C))) for share in (0.25, 0.75)]
    return net.flat(net.add("Relu", net.add("Add", *parts)))


def _gemm_then(kind: str, **attributes: Any) -> Pattern:
    def pattern(net: Net, v: str) -> str:
        return net.add(kind, net.add("Gemm", v, eye(), f32(np.zeros(C))), **attributes)

    return pattern


def _bent(kind: str, after: Callable[[Net, str], str]) -> Build:
    """A function that is not the identity, on the value as it comes back and on the value as it was."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = after(net, net.add("Abs", relieved(net, strained(net, u, s), s)))
        return net.flat(net.add(kind, value)), net.add(kind, u)

    return build


def _to_conv(net: Net, v: str) -> str:
    return net.add("Conv", net.image(v), kernel(), f32(np.zeros(C)))


def _to_gemm(net: Net, v: str) -> str:
    return net.add("Gemm", v, eye(), f32(np.zeros(C)))


_CONV, _GEMM = "extended +FusedConv", "extended +FusedGemm"


def _kind(name: str, pattern: Pattern, fired: str, barrier: bool = False) -> Kind:
    group = fired.split()[0].replace("all", "layout")
    return Kind(name, group, through(pattern, barrier), fired)


VALUE_KINDS: Final = (
    _kind("identity", _identities, "basic -Identity"),
    _kind("dropout", _dropout, "basic -Dropout"),
    _kind("slice_whole", _slice, "basic -Slice"),
    _kind("unsqueezed_constant", _unsqueezed_constant, "basic -Unsqueeze"),
    _kind("cast_same", _cast, "basic -Cast"),
    _kind("cast_chain", _cast_chain, "basic -Cast"),
    _kind("reshape_fusion", _reshape_fused, "basic -Concat"),
    _kind("noop_add", _noop("Add", 0.0), "basic -Add"),
    _kind("noop_sub", _noop("Sub", 0.0), "basic -Sub"),
    _kind("noop_mul", _noop("Mul", 1.0), "basic -Mul"),
    _kind("noop_div", _noop("Div", 1.0), "basic -Div"),
    _kind("relu_clip", _relu_clip, "basic -Relu"),
    _kind("gemm_sum", _gemm_sum, "basic -Sum"),
    _kind("gemm_transpose", _gemm_transpose, "basic -Transpose"),
    _kind("matmul_add", _matmul_add, "basic -Add"),
    _kind("common_subexpression", _common_subexpression, "basic -Mul"),
    _kind("expand_same", _expand, "basic -Expand"),
    _kind("gather_to_slice", _gather_to_slice, "extended -Gather"),
    _kind("gather_to_split", _gather_to_split, "extended -Gather"),
    _kind("transpose_pair", _transposes, "basic -Transpose"),
    _kind("where_not", _where_not, "basic -Not"),
    _kind("reciprocal_product", _reciprocal_product, "basic -Mul"),
    _kind("matmul_transpose", _matmul_transpose, "extended +FusedMatMul"),
    _kind("matmul_scale_value_mul", _matmul_scale("Mul"), "extended +FusedMatMul", True),
    _kind("matmul_scale_value_div", _matmul_scale("Div"), "extended +FusedMatMul", True),
    _kind("conv_relu", _conv_then("Relu"), _CONV),
    _kind("conv_leaky", _conv_then("LeakyRelu", alpha=0.1), _CONV),
    _kind("conv_clip", _conv_then("Clip", f32(0.0)), _CONV),
    _kind("conv_add_relu", _conv_add_relu, "all +com.microsoft.nchwc:Conv", True),
    Kind("conv_sigmoid", "extended", _bent("Sigmoid", _to_conv), _CONV),
    Kind("conv_tanh", "extended", _bent("Tanh", _to_conv), _CONV),
    Kind("conv_hard_sigmoid", "extended", _bent("HardSigmoid", _to_conv), _CONV),
    _kind("gemm_relu", _gemm_then("Relu"), _GEMM),
    _kind("gemm_leaky", _gemm_then("LeakyRelu", alpha=0.1), _GEMM),
    Kind("gemm_sigmoid", "extended", _bent("Sigmoid", _to_gemm), _GEMM),
    Kind("gemm_tanh", "extended", _bent("Tanh", _to_gemm), _GEMM),
)
