"""The rule of transposed convolutions."""

from __future__ import annotations

import math

from harden.bounds.crown.coefficients import Size
from harden.bounds.rules.affine_rules import Affine
from harden.bounds.rules.linear_layers import Given
from harden.graph.operations import ConvTranspose


def conv_transpose(operation: ConvTranspose, given: Given, size_in: Size, size: Size) -> Affine | None:
    """A transposed convolution with constant weights; None where they vary.

    An output sums at most one product for each input channel of its group and place of the kernel.
    """
    weight = given[1]
    if given[0] is not None or weight is None or None in given[2:]:
        return None
    bias = given[2] if len(given) > 2 else None
    shaped = (1, -1, *(1,) * (len(size) - 1))
    offset = weight.new_zeros(1, *size) if bias is None else bias.reshape(shaped).expand(1, *size)
    return Affine(
        linear=lambda x: operation(x, weight),
        spread=lambda x: operation(x, weight.abs()),
        offset=offset,
        offset_magnitude=offset.abs(),
        terms=weight.shape[0] // operation.group * math.prod(weight.shape[2:]),
        largest_weight=weight.detach().abs().max() if weight.numel() else 0.0,
        sizes=(size_in,),
        size=size,
    )
