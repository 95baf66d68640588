"""Sums with a value that a runtime takes into a layer: it is added to partial sums, not to the whole one."""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.traps.folded import BARRIER
from benchmarks.traps.frame import Build, Kind
from benchmarks.traps.net import COPIES, Array, Net, f32
from benchmarks.traps.strengths import Strength

C: Final = COPIES
PARTS: Final = {"conv": 16, "gemm": 256, "matmul": 256}
"""How many products are summed before they are added: a block of channels, a stride of packed weights."""
_AROUND: Final = ((0, 0), (0, 0), (1, 1), (1, 1))
"""Zeros around one number: of a kernel of one place 128 channels would be summed at once."""
TERMS: Final = 256
OVER: Final = tuple(
    Strength(f"{a:g}+{b:g}", a=a * 2.0**128, b=b * 2.0**128)
    for a, b in ((0.46, 0.49), (0.45, 0.5), (0.4, 0.56), (0.35, 0.62), (0.3, 0.66))
)
"""a + b is below 2^128, and a sixteenth more is above it; 2 a and b are below it by more than that."""
LOST: Final = tuple(Strength(f"2^{power}", a=2.0**power) for power in (-60, 0, 20, 60, 90))
"""The size of a term; the value is 2^24 times as large, so that a term alone is lost before it."""


def _over(kind: str, after: str = BARRIER) -> Build:
    """The sum a v + b v - a v, v from 1 to 17/16: a v + b v is infinite at the corner, b v is not."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        a, b = (2.0**100, 2.0**100) if s.benign else (s.a, s.b)
        unit = net.add("Add", net.scaled(u, 0.125), f32(np.ones(C)))
        found = _sum(net, kind, unit, (a, 0.0, -a), b)
        return net.scaled(net.add(after, found), 2.0**-100, 2.0**100 / b), unit

    return build


def _lost(kind: str) -> Build:
    """The sum z v + sum_k p v with one p for each part: every partial sum is rounded to z v."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        size = 1.0 if s.benign else s.a
        unit = net.add(BARRIER, net.scaled(u, 2.0))
        value = (1.0 if s.benign else 2.0**24) * size
        found = net.add(BARRIER, _sum(net, kind, unit, (size,) * TERMS, value))
        short = net.add("Sub", net.scaled(found, 1 / size), net.scaled(unit, value / size + TERMS))
        return net.add("Add", u, net.scaled(short, 2.0**-12)), u

    return build


def _sum(net: Net, kind: str, unit: str, terms: tuple[float, ...], value: float) -> str:
    """The unit times each of the terms, in a part of the sum of its own, and times a value; (N, 16)."""
    width = 4 if kind == "conv" else C
    place = np.concatenate([np.eye(width), np.zeros((PARTS[kind] - width, width))])
    copies, weight = np.tile(place, (len(terms), 1)).T, np.concatenate([place * each for each in terms])
    if kind == "conv":  # 4 channels of 2 x 2 places
        image, zeros = net.image(unit, 4, 2, 2), f32(np.zeros(width))
        wide = net.add("Conv", image, _kernel(copies), f32(np.zeros(len(weight))))
        large = net.add("Relu", net.add("Conv", image, _kernel(np.eye(width) * value), zeros))
        found = net.add("Conv", wide, np.pad(_kernel(weight), _AROUND), zeros, pads=[1, 1, 1, 1])
        return net.flat(net.add("Add", found, large))
    wide = net.add(BARRIER, net.add("MatMul", unit, f32(copies)))
    large = net.add(BARRIER, net.scaled(unit, value))
    if kind == "gemm":
        return net.add("Sum", net.add("Gemm", wide, f32(weight)), large)
    return net.add("Add", net.add("MatMul", wide, f32(weight)), large)


def _kernel(weight: Array) -> Array:
    return f32(weight.T.reshape(weight.shape[1], weight.shape[0], 1, 1))


_FIRED: Final = {"conv": "all -Add", "gemm": "basic -Sum", "matmul": "basic +Gemm"}
_GROUP: Final = {"conv": "layout", "gemm": "basic", "matmul": "basic"}
ACCUMULATED_KINDS: Final = (
    *(
        Kind(f"{kind}_sum_over", _GROUP[kind], _over(kind), sign, strengths=OVER)
        for kind, sign in _FIRED.items()
    ),
    *(
        Kind(f"{kind}_sum_relu_over", _GROUP[kind], _over(kind, "Relu"), sign, strengths=OVER)
        for kind, sign in _FIRED.items()
    ),
    Kind("conv_sum_lost", "layout", _lost("conv"), _FIRED["conv"], strengths=LOST),
)
