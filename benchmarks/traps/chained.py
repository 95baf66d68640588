"""Folds that other rewrites make possible: a node between two layers or behind a weight goes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from onnx import numpy_helper

from benchmarks.traps.folded import BARRIER, normalised, ones
from benchmarks.traps.frame import Build, Kind
from benchmarks.traps.net import COPIES, Array, Net, f32, i64
from benchmarks.traps.strengths import FOLDED, Strength, finished
from benchmarks.traps.values import eye, kernel
from benchmarks.traps.windows import SIZES, padded_by

C: Final = COPIES
Between = Callable[[Net, str], str]
Weight = Callable[[Net, Array], str]


def _node(kind: str, *inputs: Array, **attributes: int) -> Between:
    def between(net: Net, value: str) -> str:
        return net.add(kind, value, *inputs, **attributes)

    return between


_WHOLE: Final = (i64(0), i64(np.iinfo(np.int64).max), i64(1), i64(1))
BETWEEN: Final[dict[str, Between]] = {
    "identity": _node("Identity"),
    "dropout": _node("Dropout"),
    "slice": _node("Slice", *_WHOLE),
    "cast": _node("Cast", to=1),
    "add_zero": _node("Add", f32(0.0)),
    "sub_zero": _node("Sub", f32(0.0)),
    "mul_one": _node("Mul", f32(1.0)),
    "div_one": _node("Div", f32(1.0)),
    "expand": _node("Expand", i64(1)),
}


def _conv_scaled(between: Between) -> Build:
    """Conv, something that is removed, and Mul."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        image = net.image(net.add(BARRIER, net.scaled(u, s.pre)))
        found = between(net, net.add("Conv", image, kernel(s.a), ones(0, C)))
        found = net.add("Mul", found, ones(s.b, C, 1, 1))
        return finished(net, net.add(BARRIER, net.flat(found)), s), u

    return build


def _conv_normalised(between: Between) -> Build:
    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        image = net.image(net.add(BARRIER, net.scaled(u, s.pre)))
        found = between(net, net.add("Conv", image, kernel(s.a), ones(0, C)))
        return net.scaled(net.flat(normalised(net, found, s)), s.post), u

    return build


def _matmul_scaled(between: Between) -> Build:
    """Two scalars about a MatMul, with something that is removed on both sides."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = net.add("Mul", net.add(BARRIER, net.scaled(u, s.pre)), f32(s.a))
        found = between(net, net.add("MatMul", between(net, value), eye()))
        return finished(net, net.add(BARRIER, net.add("Mul", found, f32(s.b))), s), u

    return build


def _constant_node(net: Net, array: Array) -> str:
    return net.add("Constant", value=numpy_helper.from_array(np.ascontiguousarray(array)))


def _transposed_weight(net: Net, array: Array) -> str:
    order = [1, 0, *range(2, array.ndim)]
    return net.add("Transpose", np.ascontiguousarray(array.transpose(order)), perm=order)


def _reshaped_weight(net: Net, array: Array) -> str:
    return net.add("Reshape", array.reshape(-1), i64(*array.shape))


def _unsqueezed_weight(net: Net, array: Array) -> str:
    return net.add("Squeeze", array[None], i64(0))


def _concatenated_weight(net: Net, array: Array) -> str:
    return net.add("Concat", array[:8], array[8:], axis=0)


def _sliced_weight(net: Net, array: Array) -> str:
    return net.add("Slice", np.concatenate([array, array]), i64(0), i64(C), i64(0))


WEIGHTS: Final[dict[str, Weight]] = {
    "constant": _constant_node,
    "transposed": _transposed_weight,
    "reshaped": _reshaped_weight,
    "squeezed": _unsqueezed_weight,
    "joined": _concatenated_weight,
    "sliced": _sliced_weight,
}


def _computed(weight: Weight) -> Build:
    """Conv and Mul whose weight is folded from other constants."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        image = net.image(net.add(BARRIER, net.scaled(u, s.pre)))
        found = net.add("Conv", image, weight(net, kernel(s.a)), ones(0, C))
        found = net.add("Mul", found, ones(s.b, C, 1, 1))
        return finished(net, net.add(BARRIER, net.flat(found)), s), u

    return build


def _conv_activated(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Conv, Mul and Relu: the folded Conv is then fused with the Relu."""
    image = net.image(net.add(BARRIER, net.scaled(u, s.pre)))
    found = net.add("Conv", image, kernel(s.a), ones(0, C))
    found = net.add("Relu", net.add("Mul", found, ones(s.b, C, 1, 1)))
    return finished(net, net.add(BARRIER, net.flat(found)), s), u


def _matmul_turned(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """MatMul and BatchNormalization with a Reshape between."""
    found = net.add("MatMul", net.add(BARRIER, net.scaled(u, s.pre)), eye(s.a))
    found = normalised(net, net.image(found), s)
    return net.scaled(net.flat(found), s.post), u


def _matmul_divided(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """A product before MatMul and a quotient after it."""
    value = net.add("Mul", net.add(BARRIER, net.scaled(u, s.pre)), f32(s.a))
    found = net.add("Div", net.add("MatMul", value, eye()), f32(1 / s.b))
    return finished(net, net.add(BARRIER, found), s), u


_MUL, _BN, _SCALED = "basic -Mul", "basic -BatchNormalization", "extended +FusedMatMul"


def _kind(name: str, build: Build, fired: str) -> Kind:
    return Kind(name, fired.split()[0], build, fired, strengths=FOLDED)


CHAINED_KINDS: Final = (
    *(_kind(f"conv_{name}_mul", _conv_scaled(each), _MUL) for name, each in BETWEEN.items()),
    *(_kind(f"conv_{name}_bn", _conv_normalised(each), _BN) for name, each in BETWEEN.items()),
    *(_kind(f"matmul_{name}_scale", _matmul_scaled(each), _SCALED) for name, each in BETWEEN.items()),
    *(_kind(f"conv_{name}_weight", _computed(each), _MUL) for name, each in WEIGHTS.items()),
    _kind("conv_mul_relu", _conv_activated, _MUL),
    _kind("matmul_reshape_bn", _matmul_turned, _BN),
    _kind("matmul_scale_div", _matmul_divided, _SCALED),
    *(
        Kind(f"pad_{name}_max_pool", "basic", padded_by(each), "basic -Pad", strengths=SIZES)
        for name, each in BETWEEN.items()
    ),
)
