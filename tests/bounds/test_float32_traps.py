"""Networks whose real-number margin is positive and whose float32 margin is not: never certified.

Each has two logits. In real numbers the first is ahead on the whole region, which the same bounds without
rounding confirm; what onnxruntime computes, or what another order of summation or a flushed denormal may
give, is not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from harden.bounds import Program, certify
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import Array, Builder, check_trap, runtime

BIG = np.float32(2.0**26)


def f32(*numbers: object) -> Array:
    return np.array(numbers, dtype=np.float32)


def dense_sum() -> Builder:
    """2^26 + 1/2 - 2^26, in one sum."""
    net = Builder((3,))
    net.add("Gemm", f32([BIG, 0], [0.5, 0], [-BIG, 0]), f32(0, 0.25))
    return net


def two_layers() -> Builder:
    """The half is lost in the first layer, the cancellation comes in the second."""
    net = Builder((3,))
    net.add("Gemm", f32([BIG, BIG], [0.5, 0], [0, 0]), f32(0, 0))
    net.add("Relu")
    net.add("Gemm", f32([1, 0], [-1, 0]), f32(0, 0.25))
    return net


def in_the_bias() -> Builder:
    net = Builder((3,))
    net.add("Gemm", f32([0.5, 0], [0, 0], [0, 0]), f32(BIG, BIG))
    net.add("Relu")
    net.add("Gemm", f32([1, 0], [-1, 0]), f32(0, 0.25))
    return net


def convolution() -> Builder:
    net = Builder((1, 1, 3))
    net.add("Conv", f32([[[[BIG, 0.5, -BIG]]], [[[0, 0, 0]]]]).reshape(2, 1, 1, 3), f32(0, 0.25))
    net.add("Flatten")
    return net


def shortcut() -> Builder:
    """x + f(x), and f(x) taken away again."""
    net = Builder((3,))
    image = net.last
    large = net.add("Mul", f32(BIG, BIG, BIG), after=image)
    half = net.add("Mul", f32(0.5, 0, 0), after=image)
    total = net.add("Add", half, after=large)
    net.add("Sub", large, after=total)
    net.add("Gemm", f32([1, 0], [0, 0], [0, 0]), f32(0, 0.25))
    return net


def batch_norm() -> Builder:
    """A variance near 0: the difference to the mean is small beside both, and is stretched."""
    net = Builder((2, 1, 1))
    net.add("Mul", f32(BIG, 1).reshape(2, 1, 1))
    net.add("Add", f32(0.5, 0.25).reshape(2, 1, 1))
    scale, bias, mean, variance = f32(1, 1), f32(0, 0), f32(BIG, 1), f32(1e-12, 1e-12)
    net.add("BatchNormalization", scale, bias, mean, variance, epsilon=1e-12)
    net.add("Flatten")
    return net


def averages() -> Builder:
    net = Builder((1, 1, 3))
    net.add("Mul", f32(BIG, 0.5, -BIG).reshape(1, 1, 3))
    net.add("AveragePool", kernel_shape=[1, 3])
    net.add("Flatten")
    net.add("Gemm", f32([3, 0]), f32(0, 0.25))
    return net


def long_sum() -> Builder:
    """2^24 and 64 ones: alone each one is lost, together they are not."""
    net = Builder((65,))
    weight = np.ones((65, 2), dtype=np.float32)
    weight[0] = 2.0**24, 2.0**24
    weight[1:, 1] = 0
    net.add("Gemm", weight, f32(0, 0))
    net.add("Gemm", f32([1, 0], [-1, 0]), f32(0, 0.5))
    return net


def overflow() -> Builder:
    """3e38 + 3e38 - 3e38."""
    net = Builder((3,))
    net.add("Gemm", f32([3e38, 0], [3e38, 0], [-3e38, 0]), f32(0, 0.25))
    return net


def denormals() -> Builder:
    """1e-40 is 0 for a processor that flushes denormals, and is stretched to 10."""
    net = Builder((3,))
    net.add("Mul", f32(1e-40, 0, 0))
    net.add("Gemm", f32([1e38, 0], [0, 0], [0, 0]), f32(0, 0))
    net.add("Gemm", f32([1e3, 0], [0, 0]), f32(0, 0.25))
    return net


def small_products() -> Builder:
    """Two factors that float32 holds, and a product that it does not."""
    net = Builder((3,))
    net.add("Mul", f32(1e-25, 0, 0))
    net.add("Mul", f32(1e-25, 0, 0))
    net.add("Mul", f32(1e30, 0, 0))
    net.add("Mul", f32(1e21, 0, 0))
    net.add("Gemm", f32([1, 0], [0, 0], [0, 0]), f32(0, 0.25))
    return net


def flat_sigmoid() -> Builder:
    """The tail of a sigmoid: 1 - 1e-8 is 1."""
    net = Builder((2,))
    net.add("Mul", f32(19, 18.4))
    net.add("Sigmoid")
    net.add("Mul", f32(-1, -1))
    net.add("Neg")
    return net


def division() -> Builder:
    net = Builder((2,))
    net.add("Mul", f32(BIG, BIG))
    net.add("Add", f32(0.5, 0))
    net.add("Div", f32(BIG, BIG))
    net.add("Sub", f32(1, 1))
    net.add("Mul", f32(BIG, BIG))
    net.add("Add", f32(0, 0.25))
    return net


TRAPS: dict[str, tuple[Callable[[], Builder], bool]] = {
    "dense sum": (dense_sum, True),
    "two layers": (two_layers, True),
    "in the bias": (in_the_bias, True),
    "convolution": (convolution, True),
    "shortcut": (shortcut, True),
    "batch norm": (batch_norm, True),
    "averages": (averages, True),
    "division": (division, True),
    "long sum": (long_sum, False),
    "overflow": (overflow, False),
    "denormals": (denormals, False),
    "small products": (small_products, True),
    "flat sigmoid": (flat_sigmoid, True),
}
"""Each with whether onnxruntime on this kind of processor falls into it."""


@pytest.mark.parametrize("name", TRAPS)
def test_what_float32_may_get_wrong_is_not_certified(name: str) -> None:
    build, falls = TRAPS[name]
    # Bounds of a sigmoid hold what a runtime's own is off by in any case.
    check_trap(build(), falls=falls, margin=name != "flat sigmoid")


def test_a_margin_beyond_what_rounding_can_take_is_certified() -> None:
    """The same sum with a half that float32 keeps: the envelope is no excuse for saying nothing."""
    net = Builder((3,))
    net.add("Gemm", f32([2.0**10, 0], [0.5, 0], [-(2.0**10), 0]), f32(0, 0.25))
    program = Program.of(read(net.model()))
    y = torch.zeros(1, dtype=torch.int64)
    assert bool(certify(program, torch.ones(1, 3), y, Linf("1/1000000000")).certified)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_error_that_attacks_miss_is_never_certified(seed: int) -> None:
    """A class is lost in a cube of side 1e-3 somewhere in the ball; everywhere else it is ahead by far."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.4, 0.6, 4).astype(np.float32)
    place = x + rng.uniform(-0.08, 0.08, 4).astype(np.float32)
    net = Builder((4,))
    eye = np.eye(4, dtype=np.float32)
    net.add("Gemm", np.concatenate([eye, -eye], 1), np.concatenate([-place, place]))
    net.add("Relu")  # |x_i - place_i| in two parts
    total = np.ones((8, 1), dtype=np.float32)
    net.add("Gemm", -total * np.float32(1000), f32(2))  # 2 - 1000 sum |x_i - place_i|
    net.add("Relu")
    net.add("Gemm", f32([-1, 1]), f32(1, 0))
    model = net.model()
    run = runtime(model)
    assert run(x[None]).argmax(1) == 0
    assert run(place[None]).argmax(1) == 1
    points = np.clip(x + rng.uniform(-0.1, 0.1, (20_000, 4)), 0, 1).astype(np.float32)
    assert (run(points).argmax(1) == 0).mean() > 0.999
    proofs = certify(Program.of(read(model)), torch.from_numpy(x)[None], torch.tensor([0]), Linf("1/10"))
    assert not bool(proofs.certified)
