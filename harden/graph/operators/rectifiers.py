"""Rectifiers: functions of one value that are straight between kinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional

from harden.graph.batch_rules import broadcast, one_value
from harden.graph.operators.operator_row import Operator, always
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError


@final
@dataclass(frozen=True, slots=True)
class Relu:
    """max(x, 0)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.relu(x)


@final
@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """x where it is above 0, alpha x below."""

    alpha: float = 0.01

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.leaky_relu(x, self.alpha)


@final
@dataclass(frozen=True, slots=True)
class Clip:
    """min(max(x, low), high); an end that is None is open."""

    low: float | None = None
    high: float | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x if self.low is None and self.high is None else x.clamp(self.low, self.high)


@final
@dataclass(frozen=True, slots=True)
class HardSigmoid:
    """min(max(alpha x + beta, 0), 1)."""

    alpha: float = 0.2
    beta: float = 0.5

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return (self.alpha * x + self.beta).clamp(0, 1)


@final
@dataclass(frozen=True, slots=True)
class PRelu:
    """x where it is at least 0, slope x below; the slopes broadcast to x."""

    def __call__(self, x: Tensor, slope: Tensor) -> Tensor:
        """Any shape."""
        return torch.where(x >= 0, x, slope * x)


def _leaky(call: NodeView) -> list[Reading]:
    return [(LeakyRelu(call.number("alpha", 0.01)), (0,))]


def _prelu(call: NodeView) -> list[Reading]:
    slopes = call.constant(1)
    one = bool(slopes.size) and bool((slopes == slopes.flat[0]).all()) and slopes.ndim <= call.rank
    if one and 0 <= slopes.flat[0] < 1:
        return [(LeakyRelu(float(slopes.flat[0])), (0,))]
    return [(PRelu(), (0, 1))]


def _clip(call: NodeView) -> list[Reading]:
    if call.opset < 11:
        ends = [call.number(name, 0) if name in call.attributes else None for name in ("min", "max")]
        low, high = ends
        if low is not None and high is not None and low > high:  # onnxruntime takes them as inputs alone
            raise UnsupportedError(f"ends that cross, {low} and {high}")
    else:
        ends = [call.scalar(at) if call.has(at) else None for at in (1, 2)]
    return [(Clip(*ends), (0,))]


def _hard_sigmoid(call: NodeView) -> list[Reading]:
    return [(HardSigmoid(call.number("alpha", 0.2), call.number("beta", 0.5)), (0,))]


ROWS: Final = (
    Operator("Clip", _clip, {Clip: one_value}),
    Operator("HardSigmoid", _hard_sigmoid, {HardSigmoid: one_value}),
    Operator("LeakyRelu", _leaky, {LeakyRelu: one_value}),
    Operator("PRelu", _prelu, {PRelu: broadcast}),
    Operator("Relu", always(Relu(), 1), {Relu: one_value}),
)
