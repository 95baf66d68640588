"""Operations that divide by what they find in the values themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional


@final
@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(x) / sum exp(x) along an axis."""

    axis: int = -1

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.softmax(self.axis)


@final
@dataclass(frozen=True, slots=True)
class LayerNormalization:
    """scale (x - mean) / sqrt(variance + epsilon) + bias, both taken from the axis on."""

    axis: int = -1
    epsilon: float = 1e-5

    def __call__(self, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        """Any shape."""
        return functional.layer_norm(x, x.shape[self.axis % x.dim() :], scale, bias, self.epsilon)
