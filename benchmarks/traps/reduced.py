"""Sums over several values, and functions of one, whose way to a result that is in range is not."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from benchmarks.traps.folded import BARRIER
from benchmarks.traps.frame import Build, Kind
from benchmarks.traps.net import COPIES, Net, f32, i64
from benchmarks.traps.strengths import Strength
from benchmarks.traps.sums import MEANS

C: Final = COPIES
EDGE: Final = tuple(
    Strength(f"2^{power}", 2.0**power, post=2.0**-power) for power in (127.9, 127.8, 127.7, 127.6, 127.5)
)
"""Half of it, at the corner, is in range, and three times the half is not."""
STEEP: Final = tuple(
    Strength(f"2^{power}", 2.0 ** (120 - power), 2.0**power) for power in (9, 10, 20, 60, 120)
)
"""The value times pre is in range, and a times that is not."""


def _there(net: Net, u: str, s: Strength) -> str:
    return net.add(BARRIER, net.scaled(u, s.pre))


def _mean_of(count: int) -> Build:
    """Mean of the same value several times: the sum is infinite."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = _there(net, u, s)
        found = net.add("Mean", *(net.add("Concat", value, axis=1) for _ in range(count)))
        return net.scaled(net.add(BARRIER, found), s.post), u

    return build


def _sum_of(*signs: int) -> Build:
    """Sum of the value with signs that add up to 1, of which some partial sum is infinite."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = _there(net, u, s)
        turned = net.add("Neg", value)
        found = net.add("Sum", *(value if sign > 0 else turned for sign in signs))
        return net.scaled(net.add(BARRIER, found), s.post), u

    return build


def _added(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """The same by Add, one after the other."""
    value = _there(net, u, s)
    found = net.add("Add", net.add("Add", value, value), value)
    found = net.add("Sub", net.add("Sub", found, value), value)
    return net.scaled(net.add(BARRIER, found), s.post), u


def _cumulated(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """CumSum over signs that cancel: its last place is 0, one before is infinite."""
    signs = np.array([1.0] * 8 + [-1.0] * 8)
    value = net.add("Mul", _there(net, u, s), f32(signs))
    found = net.add("CumSum", value, np.array(1))
    last = net.add("Slice", found, i64(C - 1), i64(C), i64(1))
    return net.add("Add", u, net.scaled(last, s.post)), u


def _reduced(kind: str) -> Build:
    """A sum over 16 values that is infinite: of absolute values, or of signs that cancel."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = _there(net, u, s)
        if kind == "ReduceL1":
            found = net.scaled(net.add(kind, value, i64(1)), s.post, 1 / C)
            return net.add("MatMul", found, f32(np.ones((1, C)))), u
        found = net.add(kind, net.add("Mul", value, f32([1.0, -1.0] * 8)), i64(1))
        return net.add("Add", u, net.scaled(found, s.post)), u

    return build


def _resized(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """Resize by lines between values, and a mean over windows of what it makes."""
    image = net.image(_there(net, u, s), 1, 4, 4)
    wide = net.add("Resize", image, "", f32([1, 1, 2, 2]), mode="linear")
    mean = net.add("ReduceMean", wide, i64(1, 2, 3))
    flat = net.add("Reshape", mean, i64(-1, 1))
    return net.add("MatMul", net.scaled(flat, s.post), f32(np.ones((1, C)))), u


def _transposed(net: Net, u: str, s: Strength) -> tuple[str, str]:
    """ConvTranspose whose products cancel after a partial sum that is infinite."""
    value = net.image(_there(net, u, s))
    five = net.add("Concat", *[value] * 5, axis=1)
    weight = np.concatenate([np.eye(C) * sign for sign in (1, 1, 1, -1, -1)]).reshape(5 * C, C, 1, 1)
    found = net.add(BARRIER, net.flat(net.add("ConvTranspose", five, f32(weight))))
    return net.scaled(found, s.post), u


def _steep(kind: str, *inputs: Any, **attributes: Any) -> Build:
    """A function that multiplies a negative value by a slope a: what comes out is infinite."""

    def build(net: Net, u: str, s: Strength) -> tuple[str, str]:
        value = net.add("Neg", _there(net, u, s))
        slope = 0.5 if s.benign else s.a * 2.0**10
        more: dict[str, Any] = {} if inputs else {"alpha": slope}
        found = net.add(kind, value, *(f32(np.full(each, slope)) for each in inputs), **more, **attributes)
        first = 1.0 if s.benign else 2.0**-100
        return net.scaled(net.add("Neg", found), first, 1 / first / slope / s.pre), u

    return build


REDUCED_KINDS: Final = (
    Kind("mean_of_4", "arithmetic", _mean_of(4), strengths=EDGE),
    Kind("mean_of_16", "arithmetic", _mean_of(16), strengths=MEANS),
    Kind("sum_of_5", "arithmetic", _sum_of(1, 1, 1, -1, -1), strengths=EDGE),
    Kind("sum_of_16", "arithmetic", _sum_of(*[1] * 16, *[-1] * 15), strengths=EDGE),
    Kind("added_in_turn", "arithmetic", _added, strengths=EDGE),
    Kind("cum_sum", "arithmetic", _cumulated, strengths=EDGE),
    Kind("reduce_l1", "arithmetic", _reduced("ReduceL1"), strengths=MEANS),
    Kind("reduce_sum_signs", "arithmetic", _reduced("ReduceSum"), strengths=EDGE),
    Kind("reduce_mean_signs", "arithmetic", _reduced("ReduceMean"), strengths=EDGE),
    Kind("resize_linear", "arithmetic", _resized, strengths=MEANS),
    Kind("conv_transpose", "arithmetic", _transposed, strengths=EDGE),
    Kind("leaky_steep", "arithmetic", _steep("LeakyRelu"), strengths=STEEP),
    Kind("prelu_steep", "arithmetic", _steep("PRelu", (1,)), strengths=STEEP),
    Kind("prelu_channels_steep", "arithmetic", _steep("PRelu", (C,)), strengths=STEEP),
)
