"""The rules of functions of one value, with the rounding error of onnxruntime's implementations."""

from __future__ import annotations

import math
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import celu, elu, mish

from harden.bounds.rules.piecewise_linear import PiecewiseLinear, Rectifier
from harden.bounds.rules.pointwise_bounds import Pointwise
from harden.bounds.rules.prelu import PReluBounds
from harden.bounds.rules.rule_row import AnyBoundRule, BoundRule, OperationInputs, of_one_value
from harden.bounds.rules.smooth_functions import SmoothFunction
from harden.graph.operators.arithmetic import Abs, Erf
from harden.graph.operators.rectifiers import Clip, HardSigmoid, LeakyRelu, PRelu, Relu
from harden.graph.operators.smooth_activations import (
    Celu,
    Elu,
    Gelu,
    HardSwish,
    Mish,
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


def _leaky_relu(function: LeakyRelu) -> Pointwise | None:
    return Rectifier(function.alpha) if 0 <= function.alpha < 1 else None


def _clip(function: Clip) -> Pointwise | None:
    if function.low is None and function.high is None:
        return None
    return clip(function.low, function.high)


def _hard_sigmoid(function: HardSigmoid) -> Pointwise | None:
    alpha, beta = function.alpha, function.beta
    if alpha <= 0:
        return None
    return PiecewiseLinear((-beta / alpha, (1 - beta) / alpha), (0.0, 1.0), 0.0, 0.0, terms=2)


def _abs(function: Abs) -> Pointwise:
    return PiecewiseLinear((0.0,), (0.0,), -1.0, 1.0)


def _sigmoid(function: Sigmoid) -> Pointwise:
    return SmoothFunction(torch.sigmoid, _sigmoid_slope, 0.0963, 0.0, (ABSOLUTE, 0.0))


def _tanh(function: Tanh) -> Pointwise:
    return SmoothFunction(torch.tanh, lambda x: 1 - torch.tanh(x) ** 2, 0.7699, 0.0, (ABSOLUTE, 0.0))


def _erf(function: Erf) -> Pointwise:
    return SmoothFunction(torch.erf, _erf_slope, 0.9679, 0.0, (ABSOLUTE, 0.0))


def _gelu(function: Gelu) -> Pointwise | None:
    if function.approximate != "none":
        return None
    return SmoothFunction(torch.nn.functional.gelu, _gelu_slope, 2 * _PEAK, 0.0, (ABSOLUTE, RELATIVE))


def _hard_swish(function: HardSwish) -> Pointwise:
    return SmoothFunction(torch.nn.functional.hardswish, _hardswish_slope, 1 / 3, 1.0, (ABSOLUTE, RELATIVE))


def _elu(function: Elu) -> Pointwise | None:
    """With |f''| <= alpha."""
    alpha = function.alpha
    if not 0 <= alpha <= _STEEPEST:
        return None
    value, size = partial(elu, alpha=alpha), max(alpha, 1.0)
    return SmoothFunction(value, partial(_elu_slope, alpha), alpha, abs(1 - alpha), (ABSOLUTE * size, 0.0))


def _selu(function: Selu) -> Pointwise | None:
    """With |f''| <= gamma alpha."""
    alpha, gamma = function.alpha, function.gamma
    if not (0 <= alpha <= _STEEPEST and 0 <= gamma <= _STEEPEST):
        return None
    size = gamma * max(alpha, 1.0)
    return SmoothFunction(
        lambda x: gamma * elu(x, alpha),
        lambda x: gamma * _elu_slope(alpha, x),
        gamma * alpha,
        gamma * abs(1 - alpha),
        (ABSOLUTE * size, RELATIVE * gamma),
    )


def _celu(function: Celu) -> Pointwise | None:
    """With |f''| <= 1 / alpha."""
    alpha = function.alpha
    if not 1 / _STEEPEST <= alpha <= _STEEPEST:
        return None
    value, size = partial(celu, alpha=alpha), max(alpha, 1.0)
    return SmoothFunction(value, partial(_celu_slope, alpha), 1 / alpha, 0.0, (ABSOLUTE * size, 0.0))


def _softplus(function: Softplus) -> Pointwise:
    """With |f''| <= 1/4."""
    return SmoothFunction(function, torch.sigmoid, 0.25, 0.0, (ABSOLUTE, RELATIVE))


def _softsign(function: Softsign) -> Pointwise:
    """With |f''| <= 2."""
    return SmoothFunction(function, lambda x: (1 + x.abs()) ** -2, 2.0, 0.0, (ABSOLUTE, 0.0))


def _mish(function: Mish) -> Pointwise:
    """With |f''| < 0.65."""
    return SmoothFunction(mish, _mish_slope, 0.65, 0.0, (ABSOLUTE, RELATIVE))


def _prelu(operation: PRelu, inputs: OperationInputs) -> Pointwise | None:
    x, slopes = inputs.constants
    return PReluBounds.of(slopes, inputs.size) if x is None else None


def clip(low: float | None, high: float | None) -> Pointwise:
    """The line x between two ends, one of which may be open."""
    if low is None and high is not None:
        return PiecewiseLinear((high,), (high,), 1.0, 0.0)
    if high is None and low is not None:
        return PiecewiseLinear((low,), (low,), 0.0, 1.0)
    if low is None or high is None or high <= low:  # ONNX: the upper end wins
        end = 0.0 if high is None else high
        return PiecewiseLinear((end,), (end,), 0.0, 0.0)
    return PiecewiseLinear((low, high), (low, high), 0.0, 0.0)


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


ROWS: Final[tuple[AnyBoundRule, ...]] = (
    of_one_value(Abs, _abs),
    of_one_value(Celu, _celu),
    of_one_value(Clip, _clip),
    of_one_value(Elu, _elu),
    of_one_value(Erf, _erf),
    of_one_value(Gelu, _gelu),
    of_one_value(HardSigmoid, _hard_sigmoid),
    of_one_value(HardSwish, _hard_swish),
    of_one_value(LeakyRelu, _leaky_relu),
    of_one_value(Mish, _mish),
    BoundRule(PRelu, _prelu),
    of_one_value(Relu, lambda function: Rectifier()),
    of_one_value(Selu, _selu),
    of_one_value(Sigmoid, _sigmoid),
    of_one_value(Softplus, _softplus),
    of_one_value(Softsign, _softsign),
    of_one_value(Tanh, _tanh),
)
