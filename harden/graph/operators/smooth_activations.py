"""Activations that are smooth, or smooth on both sides of one kink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from torch import Tensor
from torch.nn import functional

from harden.graph.batch_rules import one_value
from harden.graph.operators.operator_row import Operator, always
from harden.graph.reading.node_view import NodeView, Reading, UnsupportedError


@final
@dataclass(frozen=True, slots=True)
class HardSwish:
    """x min(max(x / 6 + 1/2, 0), 1)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.hardswish(x)


@final
@dataclass(frozen=True, slots=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.sigmoid(x)


@final
@dataclass(frozen=True, slots=True)
class Tanh:
    """The hyperbolic tangent."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return torch.tanh(x)


@final
@dataclass(frozen=True, slots=True)
class Gelu:
    """x Phi(x), or its approximation by a tanh."""

    approximate: Literal["none", "tanh"] = "none"

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.gelu(x, approximate=self.approximate)


@final
@dataclass(frozen=True, slots=True)
class Elu:
    """x where it is above 0, alpha (exp(x) - 1) below."""

    alpha: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.elu(x, self.alpha)


@final
@dataclass(frozen=True, slots=True)
class Selu:
    """gamma x where x is above 0, gamma alpha (exp(x) - 1) below."""

    alpha: float
    gamma: float

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.gamma * functional.elu(x, self.alpha)


@final
@dataclass(frozen=True, slots=True)
class Celu:
    """x where it is above 0, alpha (exp(x / alpha) - 1) below."""

    alpha: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.celu(x, self.alpha)


@final
@dataclass(frozen=True, slots=True)
class Softplus:
    """log(1 + exp(x))."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        # torch's own takes x itself from 20 on.
        return torch.logaddexp(x, torch.zeros_like(x))


@final
@dataclass(frozen=True, slots=True)
class Softsign:
    """x / (1 + |x|)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x / (1 + x.abs())


@final
@dataclass(frozen=True, slots=True)
class Mish:
    """x tanh(log(1 + exp(x)))."""

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.mish(x)


def _elu(call: NodeView) -> list[Reading]:
    return [(Elu(call.number("alpha", 1)), (0,))]


def _selu(call: NodeView) -> list[Reading]:
    # Up to opset 6 the defaults were rounded otherwise; float32 holds them alike.
    return [
        (
            Selu(
                call.number("alpha", 1.67326319217681884765625),
                call.number("gamma", 1.05070102214813232421875),
            ),
            (0,),
        )
    ]


def _celu(call: NodeView) -> list[Reading]:
    return [(Celu(call.number("alpha", 1)), (0,))]


def _gelu(call: NodeView) -> list[Reading]:
    kind = call.word("approximate", "none")
    if kind not in ("none", "tanh"):
        raise UnsupportedError(f"approximate={kind}")
    return [(Gelu("tanh" if kind == "tanh" else "none"), (0,))]


ROWS: Final = (
    Operator("Celu", _celu, {Celu: one_value}),
    Operator("Elu", _elu, {Elu: one_value}),
    Operator("Gelu", _gelu, {Gelu: one_value}),
    Operator("HardSwish", always(HardSwish(), 1), {HardSwish: one_value}),
    Operator("Mish", always(Mish(), 1), {Mish: one_value}),
    Operator("Selu", _selu, {Selu: one_value}),
    Operator("Sigmoid", always(Sigmoid(), 1), {Sigmoid: one_value}),
    Operator("Softplus", always(Softplus(), 1), {Softplus: one_value}),
    Operator("Softsign", always(Softsign(), 1), {Softsign: one_value}),
    Operator("Tanh", always(Tanh(), 1), {Tanh: one_value}),
)
