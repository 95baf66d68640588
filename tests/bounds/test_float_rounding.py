"""Factors and sums whose float32 value leaves the range of float32 on the way: never certified.

In real numbers the first of two logits is ahead on the whole region; in some order in which a runtime may
compute it, a sum, a product or a folded weight overflows or becomes 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harden.bounds import Program, certify
from harden.bounds.float_rounding import LARGEST_32, SMALLEST_32, envelope
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import Array, Builder, check_trap


def f32(*numbers: object) -> Array:
    return np.array(numbers, dtype=np.float32)


def _scaled(*factors: float) -> Builder:
    """Three equal inputs, times each factor in turn."""
    net = Builder((3,))
    for factor in factors:
        net.add("Mul", f32(factor, factor, factor))
    return net


def alpha_after_underflow() -> Builder:
    """1e-25 1e-25 is 0 before alpha = 1e38 makes 1e-12 of it."""
    net = _scaled(1e-25)
    net.add("Gemm", f32([1e-25, 0], [0, 0], [0, 0]), f32(0, 0), alpha=1e38)
    net.add("Gemm", f32([1e12, 0], [0, 0]), f32(0, 0.25))
    return net


def alpha_after_overflow() -> Builder:
    """2e38 + 2e38 overflows before alpha = 1e-38 makes 4 of it."""
    net = _scaled(2e38)
    net.add("Gemm", f32([1, 0], [1, 0], [0, 0]), f32(0, 0.25), alpha=1e-38)
    net.add("Gemm", f32([-1, 0], [0, 0]), f32(8, 1))
    return net


def alpha_into_weights() -> Builder:
    """1e20 1e30 overflows in a weight that alpha is folded into; the sum does not."""
    net = _scaled(1e-20)
    net.add("Gemm", f32([1e30, 0], [0, 0], [0, 0]), f32(0, 0.25), alpha=1e20)
    net.add("Mul", f32(1e-30, 1))
    return net


def alpha_makes_weights_vanish() -> Builder:
    """1e-30 1e-30 is 0 in a weight that alpha is folded into; the sum over 1e38 is not."""
    net = _scaled(1e38)
    net.add("Gemm", f32([1e-30, 0], [0, 0], [0, 0]), f32(0, 0), alpha=1e-30)
    net.add("Mul", f32(1e22, 1))
    net.add("Add", f32(0, 0.25))
    return net


def beta_on_a_denormal() -> Builder:
    """A bias of 1e-40 is 0 for a processor that flushes denormals; beta = 1e38 makes 0.01 of it."""
    net = Builder((3,))
    net.add("Gemm", f32([0, 0], [0, 0], [0, 0]), f32(1e-40, 0), beta=1e38)
    net.add("Mul", f32(100, 1))
    net.add("Add", f32(0, 0.25))
    return net


def _mean(kind: str, **attributes: Any) -> Builder:
    """The mean of three 2e38 is 2e38; their sum overflows."""
    net = Builder((1, 1, 3))
    net.add("Mul", f32(2e38, 2e38, 2e38).reshape(1, 1, 3))
    net.add(kind, **attributes)
    net.add("Flatten")
    net.add("Mul", f32([5e-39]))
    net.add("Gemm", f32([-1, 0]), f32(3, 1))
    return net


def average_pool() -> Builder:
    return _mean("AveragePool", kernel_shape=[1, 3])


def global_average_pool() -> Builder:
    return _mean("GlobalAveragePool")


def reduce_mean() -> Builder:
    net = Builder((1, 1, 3))
    net.add("Mul", f32(2e38, 2e38, 2e38).reshape(1, 1, 3))
    net.add("ReduceMean", net.constant(np.array([2, 3])), keepdims=0)
    net.add("Mul", f32([5e-39]))
    net.add("Gemm", f32([-1, 0]), f32(3, 1))
    return net


def mean_of_small_numbers() -> Builder:
    """A mean whose terms are divided before they are summed: each becomes 0."""
    net = Builder((1, 1, 3))
    net.add("Mul", f32(2e-38, 2e-38, 2e-38).reshape(1, 1, 3))
    net.add("GlobalAveragePool")
    net.add("Flatten")
    net.add("Mul", f32([5e37]))
    net.add("Gemm", f32([1, 0]), f32(0, 0.5))
    return net


def batch_norm_slope() -> Builder:
    """3e38 / sqrt(1e-6) overflows; its product with what is next to the mean would not."""
    net = Builder((2, 1, 1))
    net.add("Mul", f32(1e-30, 1e-30).reshape(2, 1, 1))
    net.add("BatchNormalization", f32(3e38, 0), f32(0, 0), f32(0, 0), f32(1e-6, 1), epsilon=1e-9)
    net.add("Mul", f32(1e-11, 1).reshape(2, 1, 1))
    net.add("Add", f32(0, 0.25).reshape(2, 1, 1))
    net.add("Flatten")
    return net


def sum_into_a_shortcut() -> Builder:
    """2^24 + 64 ones: a convolution that begins its sum with the shortcut loses each of them."""
    net = Builder((64, 1, 1))
    image = net.last
    first = net.add("Conv", np.zeros((2, 64, 1, 1), dtype=np.float32), f32(2.0**24, 2.0**24), after=image)
    weight = np.zeros((2, 64, 1, 1), dtype=np.float32)
    weight[0] = 1
    ones = net.add("Conv", weight, f32(0, 0), after=image)
    net.add("Add", ones, after=first)
    net.add("Flatten")
    net.add("Gemm", f32([1, 0], [-1, 0]), f32(0, 0.5))
    return net


def shortcut_added_to_partial_sums() -> Builder:
    """2e38 - 2e38 is 0, but not where a shortcut of 2e38 is added before the second product."""
    net = Builder((2, 1, 1))
    image = net.last
    large = net.add("Mul", f32(2e38, 2e38).reshape(2, 1, 1), after=image)
    weight = f32([1, -1], [0, 0]).reshape(2, 2, 1, 1)
    nothing = net.add("Conv", weight, f32(0, 0), after=large)
    net.add("Add", nothing, after=large)
    net.add("Mul", f32(5e-39, 0).reshape(2, 1, 1))
    net.add("Flatten")
    net.add("Add", f32(0, 0.25))
    return net


def constant_added_to_partial_sums() -> Builder:
    """The same with a constant, which becomes the bias of one product by a matrix."""
    net = _scaled(2e38)
    net.add("MatMul", f32([1, 0], [-1, 0], [0, 0]))
    net.add("Add", f32(2e38, 0))
    net.add("Mul", f32(5e-39, 0))
    net.add("Add", f32(0, 0.25))
    return net


TRAPS: dict[str, tuple[Callable[[], Builder], bool]] = {
    "alpha after underflow": (alpha_after_underflow, True),
    "alpha after overflow": (alpha_after_overflow, True),
    "alpha into weights": (alpha_into_weights, False),
    "alpha makes weights vanish": (alpha_makes_weights_vanish, False),
    "beta on a denormal": (beta_on_a_denormal, False),
    "average pool": (average_pool, True),
    "global average pool": (global_average_pool, True),
    "reduce mean": (reduce_mean, True),
    "mean of small numbers": (mean_of_small_numbers, False),
    "batch norm slope": (batch_norm_slope, True),
    "sum into a shortcut": (sum_into_a_shortcut, False),
    "shortcut added to partial sums": (shortcut_added_to_partial_sums, False),
    "constant added to partial sums": (constant_added_to_partial_sums, False),
}
"""Each with whether onnxruntime on this kind of processor falls into it."""


@pytest.mark.parametrize("name", TRAPS)
def test_what_leaves_the_range_of_float32_on_the_way_is_not_certified(name: str) -> None:
    build, falls = TRAPS[name]
    check_trap(build(), falls=falls)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_factors_that_stay_in_range_are_certified(factor: float) -> None:
    net = Builder((3,))
    net.add("Gemm", f32([1, 0], [1, 0], [1, 0]), f32(0, 1), alpha=factor, beta=factor)
    program = Program.of(read(net.model()))
    y = torch.zeros(1, dtype=torch.int64)
    assert bool(certify(program, torch.ones(1, 3), y, Linf("1/1000")).certified)


def test_an_envelope_says_nothing_of_what_may_overflow() -> None:
    size = torch.tensor([1.0, LARGEST_32 / 8, LARGEST_32], dtype=torch.float64)
    assert envelope(size, 4, 2.0).isfinite().tolist() == [True, True, False]
    assert envelope(size, 4, 2.0, 1 / 16).isfinite().tolist() == [True, False, False]
    assert envelope(size, 4, LARGEST_32 / 8, 16.0).isfinite().tolist() == [False, False, False]
    assert not bool(envelope(torch.tensor(torch.nan, dtype=torch.float64), 4, 2.0).isfinite())


def test_what_underflows_before_a_factor_is_multiplied_with_it() -> None:
    nothing = torch.zeros((), dtype=torch.float64)
    assert float(envelope(nothing, 1, 2.0, 1e6)) == pytest.approx(1e6 * 5 * 2 * SMALLEST_32)


def test_an_image_is_charged_for_its_own_values_alone() -> None:
    """A region of huge values in the batch takes no proof from another image."""
    net = Builder((2,))
    net.add("Gemm", f32([1, 0], [1, 0]), f32(0, 0.25), alpha=1e3)
    program = Program.of(read(net.model()))
    x = torch.tensor([[0.5, 0.5], [3e38, 3e38]])
    threat, y = Linf("1/1000", bounds=(0.0, 3.4e38)), torch.zeros(2, dtype=torch.int64)
    both = certify(program, x, y, threat)
    assert both.certified.tolist() == [True, False]
    assert float(both.margins[0]) == float(certify(program, x[:1], y[:1], threat).margins[0])
