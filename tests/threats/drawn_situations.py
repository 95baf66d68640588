"""Threats, images, points and gradients drawn by hypothesis, for the tests of threats."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import Tensor

from harden.threats import L1, L2, Linf

Ball = Linf | L2 | L1


Kind = type[Linf] | type[L2] | type[L1]


EPS = st.one_of(
    st.sampled_from(
        [
            Fraction(t)
            for t in ("0", "8/255", "1/10", "1/3", "1/2", "1/4", "1", "1/1000000007", "1e-30", "1e-46")
        ]
    ),
    st.fractions(0, 1),
    st.floats(0, 1, width=32).map(Fraction),
)


BOXES = st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.1, 1.3)])


@st.composite
def tensors(
    draw: st.DrawFn, elements: st.SearchStrategy[float], shape: tuple[int, ...] | None = None
) -> Tensor:
    shape = draw(st.tuples(*[st.integers(1, 3)] * 4)) if shape is None else shape
    return torch.from_numpy(draw(npst.arrays(np.float32, shape, elements=elements, fill=st.nothing())))


def _pixels(bounds: tuple[float, float]) -> st.SearchStrategy[float]:
    low, high = np.float32(bounds[0]), np.float32(bounds[1])
    low = low if float(low) >= bounds[0] else np.nextafter(low, np.float32(9))
    high = high if float(high) <= bounds[1] else np.nextafter(high, np.float32(-9))
    return st.floats(float(low), float(high), width=32)


@dataclasses.dataclass(frozen=True)
class Situation:
    threat: Ball
    x: Tensor
    elsewhere: Tensor
    grad: Tensor


@st.composite
def situations(draw: st.DrawFn, kind: Kind) -> Situation:
    """A threat, images in its box, a point anywhere, and a gradient with NaN and infinities."""
    bounds = draw(BOXES)
    x = draw(tensors(_pixels(bounds)))
    shape = tuple(x.shape)
    return Situation(
        threat=kind(draw(EPS), bounds),
        x=x,
        elsewhere=draw(tensors(st.floats(width=32) | st.floats(-2, 2, width=32), shape)),
        grad=draw(tensors(st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0]), shape)),
    )
