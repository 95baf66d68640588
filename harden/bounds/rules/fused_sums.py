"""Sums of the outputs of weighted layers and of other values, as one sum of all their products.

A runtime may fuse a layer and the sum that follows it: then the other value is added to partial sums of the
layer's products, is rounded as often as these are, and may overflow with them where the layer's result and
the value would not. One sum over all products holds whatever is added first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import Size, WindowCoefficients
from harden.bounds.rules.affine_map import Affine


def one_sum(parts: Sequence[Affine | None], sizes: tuple[Size, ...], size: Size) -> Affine | None:
    """The sum of its parts; None where they have different factors.

    Args:
        parts: affine rules of one value each; None for a value as it is.
        sizes: of the values that go into the parts, without the batch; they broadcast to `size`.
        size: of the sum, without the batch.
    """
    layers = [part for part in parts if part is not None]
    factors = {part.factor for part in layers if part.factor != 1.0}
    if not layers or len(factors) > 1:
        return None

    def linear(*values: Tensor) -> Tensor:
        return _total([x if part is None else part.linear(x) for part, x in zip(parts, values, strict=True)])

    def spread(*values: Tensor) -> Tensor:
        return _total([x if part is None else part.spread(x) for part, x in zip(parts, values, strict=True)])

    def transposed(flat: Tensor) -> tuple[Tensor, ...]:
        return tuple(flat if part is None else part.transpose(flat)[0] for part in parts)

    def through(window: WindowCoefficients) -> tuple[WindowCoefficients, ...]:
        return tuple(window if part is None else _through(part, window) for part in parts)

    alike = all(part is not None or given == size for part, given in zip(parts, sizes, strict=True))
    windows = alike and all(part.through is not None for part in layers)
    offset, magnitude = (
        _total([getattr(part, name) for part in layers]).expand(1, *size)
        for name in ("offset", "offset_magnitude")
    )
    largest = torch.stack([torch.as_tensor(part.largest_weight).detach() for part in layers]).amax()
    return Affine(
        linear=linear,
        spread=spread,
        offset=offset,
        offset_magnitude=magnitude,
        terms=sum(part.terms for part in layers) + len(parts),
        largest_weight=largest.clamp_min(1.0),
        sizes=sizes,
        size=size,
        transposed=transposed if alike else None,
        through=through if windows else None,
        factor=factors.pop() if factors else 1.0,
    )


def with_offset(layer: Affine, offset: Tensor) -> Affine:
    """A layer, and a constant that broadcasts to its output, as one sum."""
    moved = offset.expand(1, *layer.size)
    return replace(
        layer,
        offset=layer.offset + moved,
        offset_magnitude=layer.offset_magnitude + moved.abs(),
        terms=layer.terms + 1,
    )


def _through(part: Affine, window: WindowCoefficients) -> WindowCoefficients:
    if part.through is None:
        raise TypeError("a layer that is not carried back in windows")
    (found,) = part.through(window)
    return found


def _total(values: Sequence[Tensor]) -> Tensor:
    found = values[0]
    for each in values[1:]:
        found = found + each
    return found
