"""Random small ONNX graphs with weights of every magnitude, and what their regions' executions say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import onnx
import torch
from torch import Tensor

from harden.threats import L1, L2, Linf, Threat
from tests.bounds.networks import Array, Builder

SCALES: Final = (1e-45, 1e-38, 1e-20, 1e-3, 1e3, 1e10, 1e19, 1e30, 1e38)
"""Of weights, besides 1: from the smallest denormal up to nearly the largest float32."""
POINTWISE: Final[tuple[tuple[str, dict[str, float]], ...]] = (
    ("Relu", {}),
    ("Relu", {}),
    ("Relu", {}),
    ("LeakyRelu", {"alpha": 0.1}),
    ("Abs", {}),
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("HardSigmoid", {}),
    ("HardSwish", {}),
    ("Erf", {}),
    ("Neg", {}),
)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A graph, images (N, ...) and a threat model."""

    model: onnx.ModelProto
    x: Tensor
    threat: Threat


@final
class _Writer:
    """Adds random steps to a graph; `values` are the shapes of all values that a step may read."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        dense = self.rng.random() < 0.4
        shape: tuple[int, ...] = (self.upto(5),) if dense else (self.upto(2), self.upto(4), 1 + self.upto(4))
        self.net = Builder(shape, seed)
        self.values: dict[str, tuple[int, ...]] = {"image": shape}
        self.shape = shape
        self.extreme = float(self.rng.choice([0.0, 0.15, 0.6]))

    def upto(self, most: int) -> int:
        return int(self.rng.integers(1, most + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def weights(self, *shape: int, fan: int = 1) -> Array:
        """Normal numbers, now and then of another magnitude, or some of them 0."""
        found = self.rng.normal(size=shape) / math.sqrt(fan)
        if self.chance(self.extreme):
            found = found * float(self.rng.choice(SCALES))
        if self.chance(self.extreme / 2):
            found.flat[int(self.rng.integers(found.size))] *= float(self.rng.choice(SCALES))
        if self.chance(0.1):
            found = found * (self.rng.random(shape) < 0.5)
        return np.clip(found, -3.4e38, 3.4e38).astype(np.float32)

    def step(self) -> None:
        """One operation that fits the last value."""
        kinds = [self.pointwise, self.clip, self.shortcut, self.shifted]
        kinds += [self.conv, self.conv, self.pool, self.norm, self.joined] if len(self.shape) == 3 else []
        kinds += [self.dense, self.dense, self.joined] if len(self.shape) == 1 else []
        kinds[int(self.rng.integers(len(kinds)))]()
        self.values[self.net.last] = self.shape

    def pointwise(self) -> None:
        kind, given = POINTWISE[int(self.rng.integers(len(POINTWISE)))]
        attributes: dict[str, Any] = dict(given)
        self.net.add(kind, **attributes)

    def clip(self) -> None:
        low, high = np.sort(self.weights(2))
        self.net.add("Clip", np.array(low), np.array(high))

    def shortcut(self) -> None:
        others = [name for name, shape in self.values.items() if shape == self.shape]
        if others:
            other = others[int(self.rng.integers(len(others)))]
            self.net.add("Add" if self.chance(0.7) else "Sub", other)
        else:
            self.pointwise()

    def shifted(self) -> None:
        shape = (self.shape[0], *(1,) * (len(self.shape) - 1))
        self.net.add(("Add", "Mul", "Sub", "Div")[int(self.rng.integers(4))], self.weights(*shape))

    def dense(self) -> None:
        outputs, inputs = self.upto(6), self.shape[0]
        scales: dict[str, Any] = {"alpha": 2.0, "beta": 0.5} if self.chance(0.1) else {}
        self.net.add("Gemm", self.weights(inputs, outputs, fan=inputs), self.weights(outputs), **scales)
        self.shape = (outputs,)

    def conv(self) -> None:
        channels, high, wide = self.shape
        outputs, kernel = self.upto(3), min(self.upto(3), high, wide)
        pads = [int(self.rng.integers(0, 2)) for _ in range(4)] if kernel > 1 else [0] * 4
        strides = [self.upto(2), self.upto(2)]
        weight = self.weights(outputs, channels, kernel, kernel, fan=channels * kernel**2)
        self.net.add("Conv", weight, self.weights(outputs), pads=pads, strides=strides)
        sizes = (
            (size + pads[axis] + pads[2 + axis] - kernel) // strides[axis] + 1
            for axis, size in enumerate((high, wide))
        )
        self.shape = (outputs, *sizes)

    def pool(self) -> None:
        channels, high, wide = self.shape
        if self.chance(0.2):
            self.net.add("GlobalAveragePool")
            self.shape = (channels, 1, 1)
            return
        kernel = min(2, high, wide)
        kind = "MaxPool" if self.chance(0.6) else "AveragePool"
        self.net.add(kind, kernel_shape=[kernel, kernel], strides=[1, 1])
        self.shape = (channels, high - kernel + 1, wide - kernel + 1)

    def norm(self) -> None:
        channels = self.shape[0]
        spread = np.abs(self.weights(channels)) + np.float32(1e-3)
        statistics = (self.weights(channels), self.weights(channels), self.weights(channels), spread)
        self.net.add("BatchNormalization", *statistics)

    def joined(self) -> None:
        rest = self.shape[1:]
        others = [
            name for name, shape in self.values.items() if shape[1:] == rest and len(shape) == len(self.shape)
        ]
        if others:
            other = others[int(self.rng.integers(len(others)))]
            self.net.add("Concat", other, axis=1)
            self.shape = (self.shape[0] + self.values[other][0], *rest)
        else:
            self.pointwise()


def random_case(seed: int) -> Case:
    """A graph of up to eight steps with two to four logits, three images, and a ball around each."""
    writer = _Writer(seed)
    for _ in range(writer.upto(8)):
        writer.step()
    if len(writer.shape) == 3:
        writer.net.add("Flatten")
        writer.shape = (math.prod(writer.shape),)
    inputs, classes = writer.shape[0], 1 + writer.upto(3)
    writer.net.add("Gemm", writer.weights(inputs, classes, fan=inputs), writer.weights(classes))
    threat, x = _region(writer)
    return Case(writer.net.model(), x, threat)


def _region(writer: _Writer) -> tuple[Threat, Tensor]:
    """Balls from single points up to boxes in which everything overflows."""
    rng = writer.rng
    reach = float(rng.choice([1.0, 1.0, 1.0, 1e4, 1e20]))
    eps = reach * float(rng.choice([1e-30, 1e-6, 1e-2, 0.1, 1.0]))
    kind = (Linf, Linf, Linf, L2, L1)[int(rng.integers(5))]
    bounds = (0.0, 1.0) if reach == 1 else (-reach, reach)
    low, high = bounds
    x = (low + (high - low) * rng.random((3, *writer.net.shape))).astype(np.float32)
    return kind(eps, bounds=bounds), torch.from_numpy(x).clamp(low, high)


def points_of(case: Case, at: int, count: int, seed: int = 0) -> Tensor:
    """Float32 points of the ball of one image: itself, corners, random ones."""
    rng = np.random.default_rng(seed)
    x = case.x[at : at + 1]
    many = x.expand(count, *x.shape[1:]).contiguous()
    noise = torch.from_numpy(rng.uniform(-1, 1, many.shape).astype(np.float32))
    noise[: count // 2] = noise[: count // 2].sign()
    noise[0] = 0
    found = many + float(case.threat.eps) * noise
    case.threat.project_(found, many)
    return found
