"""Limits of float32 that need no rewrite: sums that overflow though the result does not, and lost terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks.traps.folded import BARRIER
from benchmarks.traps.frame import Build, Kind
from benchmarks.traps.net import COPIES, Net, f32, i64
from benchmarks.traps.strengths import Strength, relieved, strained
from benchmarks.traps.values import eye

C: Final = COPIES
GEMM: Final = (
    Strength("denormal", 2.0**-70, 1.5 * 2.0**-79, 2.0**100, 2.0**49 / 1.5),
    Strength("tiny", 2.0**-100, 2.0**-100, 2.0**100, 2.0**100),
    Strength("edge", 2.0**-126, 2.0**-25, 2.0**126, 2.0**25),
    Strength("over", 2.0**127, 2.0**2, 2.0**-126, 2.0**-3),
    Strength("huge", 2.0**100, 2.0**100, 2.0**-100, 2.0**-100),
)
"""pre times the weight a is out of range before alpha = b comes in; post undoes what is left."""
MEANS: Final = tuple(
    Strength(f"2^{power:g}", 2.0**power, post=2.0**-power) for power in (127.0, 126.5, 126.0, 125.5, 125.0)
)
"""Of 16 numbers of half this size the sum is infinite, and the mean is not."""


def gemm_alpha(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Gemm with alpha: the product x W is out of range before alpha, alpha W and alpha x are not."""
    value = net.add(BARRIER, net.scaled(u, s.pre))
    return net.scaled(net.add("Gemm", value, eye(s.a), alpha=s.b), s.post), u


def gemm_alpha_pair(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """The same with a bias."""
    value = net.add(BARRIER, net.scaled(u, s.pre))
    found = net.add("Gemm", value, eye(s.a), f32(np.full(C, 0.25 / s.post)), alpha=s.b)
    return net.add("Sub", net.scaled(found, s.post), f32(0.25)), u


def gemm_beta(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Beta C: the product is out of range, and what it is multiplied with afterwards would bring it back."""
    value = net.add(BARRIER, net.scaled(u, s.pre))
    found = net.add("Gemm", net.scaled(u, 0.0), eye(), value, beta=s.a)
    return net.scaled(found, s.b, s.post), u


def _halves(size: float) -> tuple[float, float]:
    root = 2.0 ** round(np.log2(size) / 2)
    return root, size / root


def _mean(pool: Callable[[Net, str], str], rank: int = 4) -> Build:
    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = net.scaled(u, s.pre)
        found = pool(net, net.image(value, 1, 4, 4) if rank == 4 else value)
        mean = net.scaled(net.flat(net.add(BARRIER, found), 1), s.post)
        return net.add("MatMul", mean, f32(np.ones((1, C)))), u

    return build


def _pool(kind: str, **attributes: Any) -> Callable[[Net, str], str]:
    def pool(net: Net, value: str) -> str:
        return net.add(kind, value, **attributes)

    return pool


def _reduced(kind: str, *axes: int, keepdims: int = 1) -> Callable[[Net, str], str]:
    def pool(net: Net, value: str) -> str:
        return net.add(kind, value, i64(*axes), keepdims=keepdims)

    return pool


def reduced_all(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """ReduceMean over all axes, the batch's too, to one number without dimensions."""
    mean = net.add("ReduceMean", net.scaled(u, s.pre), keepdims=0)
    return net.add("Add", net.scaled(u, 0.0), net.scaled(mean, s.post)), u  # the mean of a batch of one is u


SUMMED: Final = (
    Strength("denormal", 2.0**-149, 1.0),
    Strength("tiny", 2.0**-140, 2.0**-9),
    Strength("rounding", 1.0, 2.0**26),
    Strength("huge", 2.0**102, 2.0**127),
    Strength("extreme", 2.0**127, 1.9 * 2.0**127),
)
"""A value of size pre and a term of size a, which cancels."""


def _cancelled(way: str) -> Build:
    """(a + pre u) - a: in one sum of products, in two layers, or across a shortcut."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = net.scaled(u, *_halves(s.pre)) if s.pre != 1 else u
        one = net.add("Add", net.scaled(u, 0.0), f32(1.0))
        large = 0.0 if s.benign else s.a
        if way == "gemm":
            both = net.add("Concat", net.add("Mul", one, f32(large)), value, axis=1)
            weight = np.concatenate([np.eye(C), np.eye(C)])
            found = net.add("Sub", net.add("MatMul", both, f32(weight)), net.add("Mul", one, f32(large)))
        elif way == "shortcut":
            branch = net.add("Add", net.add("Mul", one, f32(large)), value)
            found = net.add("Sub", branch, net.add("Relu", net.add("Mul", one, f32(large))))
        elif way == "order":  # one sum of three products
            three = net.add("Concat", one, value, one, axis=1)
            weight = np.concatenate([np.eye(C) * large, np.eye(C), -np.eye(C) * large])
            found = net.add(BARRIER, net.add("MatMul", three, f32(weight)))
        else:
            found = net.add("Sub", net.add("Gemm", value, eye(), f32(np.full(C, large))), f32(large))
        back = (1 / each for each in _halves(s.pre)) if s.pre != 1 else ()
        return net.scaled(found, *back), u

    return build


def _branched(shortcut: bool) -> Build:
    """Rectifiers open on both sides, so that the proof needs cuts, and values out of range behind them.

    With the shortcut, half of the value goes round them and is added after the strain.
    """

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        first = np.zeros((C, 1))
        first[0] = 1
        value = net.add("MatMul", u, f32(first))
        centred = net.add("Sub", value, f32(0.25))
        up, down = net.add("Relu", centred), net.add("Relu", net.add("Neg", centred))
        back = net.add("Add", net.add("Sub", up, down), f32(0.25))
        if shortcut:
            halves = [strained(net, net.add("Mul", each, f32(0.5)), s) for each in (back, value)]
            found = net.add("Add", *(relieved(net, each, s) for each in halves))
        else:
            found = relieved(net, strained(net, back, s), s)
        row = f32(np.ones((1, C)))
        return net.add("MatMul", net.add(BARRIER, found), row), net.add("MatMul", value, row)

    return build


def _mean_kind(name: str, pool: Callable[[Net, str], str], rank: int = 4) -> Kind:
    return Kind(name, "arithmetic", _mean(pool, rank), strengths=MEANS)


SUM_KINDS: Final = (
    Kind("gemm_alpha", "arithmetic", gemm_alpha, strengths=GEMM),
    Kind("gemm_alpha_bias", "arithmetic", gemm_alpha_pair, strengths=GEMM),
    Kind("gemm_beta", "arithmetic", gemm_beta, strengths=GEMM),
    _mean_kind("average_pool_sum", _pool("AveragePool", kernel_shape=[4, 4])),
    _mean_kind("average_pool_padded_sum", _pool("AveragePool", kernel_shape=[4, 4], ceil_mode=1)),
    _mean_kind("global_average_sum", _pool("GlobalAveragePool")),
    _mean_kind("reduce_mean_places", _reduced("ReduceMean", 2, 3)),
    _mean_kind("reduce_mean_flat", _reduced("ReduceMean", 1), rank=2),
    _mean_kind("reduce_mean_dropped", _reduced("ReduceMean", 1, 2, 3, keepdims=0)),
    Kind("reduce_mean_all", "arithmetic", reduced_all, strengths=MEANS),
    Kind("branched", "arithmetic", _branched(False)),
    Kind("branched_shortcut", "arithmetic", _branched(True)),
    *(
        Kind(f"cancelled_{way}", "arithmetic", _cancelled(way), strengths=SUMMED)
        for way in ("gemm", "bias", "shortcut", "order")
    ),
)
