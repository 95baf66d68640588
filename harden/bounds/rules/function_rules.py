"""The rule of each function of one value, and how exactly onnxruntime computes it."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import celu, elu, mish

from harden.bounds.rules.piecewise_linear import Kinked, Rectifier
from harden.bounds.rules.rule import Pointwise
from harden.bounds.rules.smooth_functions import Smooth
from harden.graph.operations import (
    Abs,
    Celu,
    Clip,
    Elu,
    Erf,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mish,
    Relu,
    Selu,
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
)

ABSOLUTE, RELATIVE = 2.0**-20, 2.0**-20
"""Of the smooth functions in float32; tests/bounds measures the runtime's own."""
_STEEPEST = 2.0**10
"""Of the parameters of exponential units: what is larger was not measured."""
_PEAK = 1 / math.sqrt(2 * math.pi)


def pointwise(operation: object) -> Pointwise | None:
    """The rule; None where there is none."""
    match operation:
        case Relu():
            return Rectifier()
        case LeakyRelu(alpha) if 0 <= alpha < 1:
            return Rectifier(alpha)
        case Clip(low, high) if low is not None or high is not None:
            return clip(low, high)
        case HardSigmoid(alpha, beta) if alpha > 0:
            return Kinked((-beta / alpha, (1 - beta) / alpha), (0.0, 1.0), 0.0, 0.0, terms=2)
        case Abs():
            return Kinked((0.0,), (0.0,), -1.0, 1.0)
        case Sigmoid():
            return Smooth(torch.sigmoid, _sigmoid_slope, 0.0963, 0.0, (ABSOLUTE, 0.0))
        case Tanh():
            return Smooth(torch.tanh, lambda x: 1 - torch.tanh(x) ** 2, 0.7699, 0.0, (ABSOLUTE, 0.0))
        case Erf():
            return Smooth(torch.erf, _erf_slope, 0.9679, 0.0, (ABSOLUTE, 0.0))
        case Gelu("none"):
            return Smooth(torch.nn.functional.gelu, _gelu_slope, 2 * _PEAK, 0.0, (ABSOLUTE, RELATIVE))
        case HardSwish():
            rule = torch.nn.functional.hardswish
            return Smooth(rule, _hardswish_slope, 1 / 3, 1.0, (ABSOLUTE, RELATIVE))
    return exponential(operation)


def exponential(operation: object) -> Pointwise | None:
    """The rules of what is made of an exponential, or looks like it; None for others.

    The largest |f''|: alpha of ELU, 1 / alpha of CELU, 1/4 of softplus, 2 of softsign, below 0.65 of Mish.
    """
    match operation:
        case Elu(alpha) if 0 <= alpha <= _STEEPEST:
            value, size = partial(elu, alpha=alpha), max(alpha, 1.0)
            return Smooth(value, partial(_elu_slope, alpha), alpha, abs(1 - alpha), (ABSOLUTE * size, 0.0))
        case Selu(alpha, gamma) if 0 <= alpha <= _STEEPEST and 0 <= gamma <= _STEEPEST:
            size = gamma * max(alpha, 1.0)
            return Smooth(
                lambda x: gamma * elu(x, alpha),
                lambda x: gamma * _elu_slope(alpha, x),
                gamma * alpha,
                gamma * abs(1 - alpha),
                (ABSOLUTE * size, RELATIVE * gamma),
            )
        case Celu(alpha) if 1 / _STEEPEST <= alpha <= _STEEPEST:
            value, size = partial(celu, alpha=alpha), max(alpha, 1.0)
            return Smooth(value, partial(_celu_slope, alpha), 1 / alpha, 0.0, (ABSOLUTE * size, 0.0))
        case Softplus():
            return Smooth(Softplus(), torch.sigmoid, 0.25, 0.0, (ABSOLUTE, RELATIVE))
        case Softsign():
            return Smooth(Softsign(), lambda x: (1 + x.abs()) ** -2, 2.0, 0.0, (ABSOLUTE, 0.0))
        case Mish():
            return Smooth(mish, _mish_slope, 0.65, 0.0, (ABSOLUTE, RELATIVE))
    return None


def clip(low: float | None, high: float | None) -> Pointwise:
    """The line x between two ends, one of which may be open."""
    if low is None and high is not None:
        return Kinked((high,), (high,), 1.0, 0.0)
    if high is None and low is not None:
        return Kinked((low,), (low,), 0.0, 1.0)
    if low is None or high is None or high <= low:  # ONNX: the upper end wins
        end = 0.0 if high is None else high
        return Kinked((end,), (end,), 0.0, 0.0)
    return Kinked((low, high), (low, high), 0.0, 0.0)


def _sigmoid_slope(x: Tensor) -> Tensor:
    value = torch.sigmoid(x)
    return value * (1 - value)


def _erf_slope(x: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * torch.exp(-(x**2))


def _gelu_slope(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * _PEAK * torch.exp(-(x**2) / 2)


def _hardswish_slope(x: Tensor) -> Tensor:
    return torch.where(x <= -3, 0.0, torch.where(x >= 3, 1.0, (2 * x + 3) / 6))


def _elu_slope(alpha: float, x: Tensor) -> Tensor:
    return torch.where(x > 0, 1.0, alpha * torch.exp(x.clamp_max(0.0)))


def _celu_slope(alpha: float, x: Tensor) -> Tensor:
    return torch.exp(x.clamp_max(0.0) / alpha)


def _mish_slope(x: Tensor) -> Tensor:
    inner = torch.tanh(Softplus()(x))
    return inner + x * (1 - inner**2) * torch.sigmoid(x)
