"""Rewrites of windows and pads, after which other numbers are pooled than the graph says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks.traps.frame import Build, Kind
from benchmarks.traps.net import COPIES, Net, f32, i64
from benchmarks.traps.strengths import Strength
from benchmarks.traps.values import through

C: Final = COPIES
SIZES: Final = (
    Strength("denormal", 2.0**-100, 2.0**-45),
    Strength("small", 2.0**-60),
    Strength("unit"),
    Strength("large", 2.0**60),
    Strength("huge", 2.0**120),
)
"""The value is multiplied by pre and a before the windows, and comes back after them."""


def _there(net: Net, value: str, s: Strength, sign: float = 1.0) -> str:
    return net.scaled(value, sign * s.pre, *([] if s.benign else [s.a]))


def _back(net: Net, value: str, s: Strength) -> str:
    return net.scaled(value, *([] if s.benign else [1 / s.a]), 1 / s.pre)


def _placed(net: Net, value: str, size: int, *places: int) -> str:
    """A row of `size` zeros, (N, 1, 1, size), with the value at some places."""
    weight = np.zeros((C, size))
    weight[0, list(places)] = 1
    found = net.add("MatMul", net.add("Abs", value), f32(weight))
    return net.add("Reshape", found, i64(-1, 1, 1, size))


def _summed(net: Net, value: str, size: int) -> str:
    """The sum of (N, 1, 1, size), 16 times."""
    return net.add("Abs", net.add("MatMul", net.flat(value, size), f32(np.ones((size, C)))))


def _padded(pads: list[int], *constant: float, **attributes: Any) -> Build:
    """Zeros around one value v < 0, and the largest in a window: 0, if the zeros are there, and v if not.

    The control has 1 + v > 0 in place of v, which is the largest with the zeros and without.
    """

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = net.add("Add", u, f32(1.0)) if s.benign else _there(net, u, s, -1.0)
        padded = net.add("Pad", net.image(value), i64(*pads), *(f32(each) for each in constant))
        found = net.flat(net.add("MaxPool", padded, **attributes))
        return (net.add("Sub", found, f32(1.0)) if s.benign else net.add("Add", _back(net, found, s), u)), u

    return build


def padded_by(between: Callable[[Net, str], str]) -> Build:
    """Pad, something that is removed, and MaxPool."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = net.add("Add", u, f32(1.0)) if s.benign else _there(net, u, s, -1.0)
        padded = between(net, net.add("Pad", net.image(value), i64(0, 0, 0, 1, 0, 0, 0, 1)))
        found = net.flat(net.add("MaxPool", padded, kernel_shape=[1, 3]))
        return (net.add("Sub", found, f32(1.0)) if s.benign else net.add("Add", _back(net, found, s), u)), u

    return build


def _dropped(pool: str, windows: int) -> Build:
    """Pads taken into a pool with ceil_mode: its last window then begins in the pads, and is left out.

    The mean is over one window less, so it is larger by a third.
    """

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        row = _placed(net, _there(net, u, s), 5, 2)
        padded = net.add("Pad", row, i64(0, 0, 0, 1, 0, 0, 0, 1 if s.benign else 2))
        pooled = net.add(pool, padded, kernel_shape=[1, 3], strides=[1, 2], ceil_mode=1)
        mean = net.flat(net.add("GlobalAveragePool", pooled), 1)
        found = net.add("MatMul", mean, f32(np.full((1, C), windows - s.benign)))
        first = np.zeros((C, C))
        first[0] = 1
        factor = 3.0 if pool == "AveragePool" else 1.0
        return _back(net, net.scaled(net.add("Abs", found), factor), s), net.add("MatMul", u, f32(first))

    return build


def _pad_conv(net: Net, v: str) -> str:
    """Zeros that become the pads of a Conv."""
    weight = np.zeros((C, C, 3, 3))
    weight[np.arange(C), np.arange(C), 1, 1] = 1
    padded = net.add("Pad", net.image(v), i64(0, 0, 1, 1, 0, 0, 1, 1))
    return net.flat(net.add("Conv", padded, f32(weight)))


def _same(word: str, kernel: int, stride: int, size: int, hit: int) -> Build:
    """A Conv with auto_pad and a stride above the kernel: the value is outside ONNX's windows.

    The pads are negative then. onnxruntime takes half of them off the front; so its windows begin there.
    """

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        row = _placed(net, _there(net, u, s), size, 0 if s.benign else hit)
        attributes: dict[str, Any] = {"strides": [1, 1 if s.benign else stride], "auto_pad": word}
        found = net.add("Conv", row, f32(np.ones((1, 1, 1, kernel))), **attributes)
        if s.benign:  # a kernel of k places sees the value k times, or once at the border
            first = np.zeros((C, C))
            first[0] = _sees(word, kernel)
            return _back(net, _summed(net, found, size), s), net.add("MatMul", u, f32(first))
        found = _summed(net, found, -(-size // stride))
        return net.add("Add", _back(net, found, s), u), u

    return build


def _sees(word: str, kernel: int) -> int:
    """Number of windows of stride 1 that contain the first place."""
    return 1 + (kernel // 2 if word == "SAME_LOWER" else (kernel - 1) // 2)


def _pad_pool(name: str, build: Build) -> Kind:
    return Kind(name, "basic", build, "basic -Pad", strengths=SIZES)


_BOTH, _ROW = [0, 0, 0, 1, 0, 0, 0, 1], [1, 3]
WINDOW_KINDS: Final = (
    Kind("pad_conv", "basic", through(_pad_conv), "basic -Pad"),
    _pad_pool("pad_max_pool", _padded(_BOTH, 0.0, kernel_shape=_ROW)),
    _pad_pool("pad_max_pool_no_value", _padded(_BOTH, kernel_shape=_ROW)),
    _pad_pool("pad_max_pool_one_side", _padded([0, 0, 0, 0, 0, 0, 0, 2], 0.0, kernel_shape=_ROW)),
    _pad_pool("pad_max_pool_square", _padded([0, 0, 1, 1, 0, 0, 1, 1], 0.0, kernel_shape=[3, 3])),
    _pad_pool("pad_max_pool_ceil", _padded(_BOTH, 0.0, kernel_shape=_ROW, strides=[1, 2], ceil_mode=1)),
    _pad_pool("pad_average_pool_ceil", _dropped("AveragePool", 4)),
    _pad_pool("pad_max_pool_dropped", _dropped("MaxPool", 4)),
    *(
        Kind(f"conv_{word.lower()}_{kernel}", "arithmetic", _same(word, kernel, *rest), strengths=SIZES)
        for word, kernel, *rest in (
            ("SAME_UPPER", 1, 4, 8, 1),
            ("SAME_UPPER", 2, 5, 5, 2),
            ("SAME_UPPER", 3, 6, 6, 3),
            ("SAME_LOWER", 1, 5, 5, 1),
            ("SAME_LOWER", 2, 6, 6, 2),
        )
    ),
)
