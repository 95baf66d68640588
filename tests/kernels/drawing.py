"""What the operations' tests draw their arguments from, and how they look at what comes out."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import Tensor

BOXES = [(0.0, 1.0), (0.1, 0.7), (-1.0, 0.0), (-math.inf, math.inf)]
SHAPES = st.one_of(
    npst.array_shapes(min_dims=1, max_dims=5, min_side=1, max_side=4),
    st.sampled_from([(0,), (0, 3, 2, 2), (2, 0), (1, 35), (3, 3, 5, 7), (2, 1, 1, 1), (1, 1, 17), (40, 3)]),
)
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16])
LAYOUTS = st.sampled_from(["contiguous", "channels_last", "reversed", "sliced"])


def laid_out(tensor: Tensor, layout: str) -> Tensor:
    """Returns the same numbers with other strides."""
    if layout == "channels_last" and tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "reversed":
        axes = tuple(range(tensor.dim()))[::-1]
        return tensor.permute(axes).contiguous().permute(axes)
    if layout == "sliced":
        return torch.stack([tensor, torch.zeros_like(tensor)], dim=-1)[..., 0]
    return tensor.contiguous()


def copied(tensor: Tensor) -> Tensor:
    """Returns a copy that keeps its strides."""
    copy = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)
    return copy.copy_(tensor)


def filled(draw: st.DrawFn, elements: st.SearchStrategy[float], sizes: tuple[int, ...]) -> Tensor:
    """Draws a float32 tensor, each element by itself."""
    return torch.from_numpy(draw(npst.arrays(np.float32, sizes, elements=elements, fill=st.nothing())))


def float32(value: float) -> float:
    return float(np.float32(value))


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.int32)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two float32 tensors hold the same bits; every NaN counts as the same."""
    nan = torch.isnan(one) & torch.isnan(other)
    return bool((nan | (bits(one) == bits(other))).all())


def rational(tensor: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in tensor.reshape(-1).tolist()]


def per_example(eps: Tensor, x: Tensor) -> Tensor:
    """Views an eps of 1 or (N,) elements so that it broadcasts against x; what is no finite number is 0."""
    radius = eps.reshape(-1, *[1] * (x.dim() - 1))
    return radius.nan_to_num(nan=0.0, posinf=0.0).clamp_min(0.0)


def in_l2_ball(result: Tensor, x: Tensor, eps: Tensor) -> bool:
    """Whether each example of a finite eps lies in its L2 ball, as rational numbers."""
    radii = eps.reshape(-1).expand(len(x)).tolist()
    return all(
        sum(((a - b) ** 2 for a, b in zip(rational(moved), rational(clean), strict=True)), Fraction(0))
        <= Fraction(max(radius, 0.0)) ** 2
        for moved, clean, radius in zip(result, x, radii, strict=True)
        if math.isfinite(radius)
    )
