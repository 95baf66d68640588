"""Arguments of a step with momentum, as hypothesis draws them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from harden.kernels.arguments import box_inwards
from tests.kernels.drawing import BOXES, DTYPES, LAYOUTS, SHAPES, copied, laid_out

HeavyStep = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float, float], None]

SPECIAL = [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, -1e-45, 0.0, -0.0]
FRACTIONS = [0.75, 1.0, 0.0, 0.9, 1e-40]
SHARES = [*FRACTIONS, 1.5, -1.0, math.nan, math.inf]


@dataclass(frozen=True)
class Case:
    x_adv: Tensor
    before: Tensor
    x: Tensor
    grad: Tensor
    alpha: Tensor
    eps: Tensor
    share: Tensor
    low: float
    high: float

    def run(self, step: HeavyStep) -> tuple[Tensor, Tensor]:
        """Runs a step on copies of x_adv and before that keep their strides, and returns both."""
        x_adv, before = copied(self.x_adv), copied(self.before)
        step(x_adv, before, self.x, self.grad, self.alpha, self.eps, self.share, self.low, self.high)
        return x_adv, before

    def on(self, device: torch.device) -> Case:
        """Moves the tensors to a device, strides and all."""
        return replace(
            self,
            x_adv=self.x_adv.to(device),
            before=self.before.to(device),
            x=self.x.to(device),
            grad=self.grad.to(device),
            alpha=self.alpha.to(device),
            eps=self.eps.to(device),
            share=self.share.to(device),
        )


@st.composite
def cases(draw: st.DrawFn, *, per_channel: bool, wild: bool = True) -> Case:
    """Draws arguments in a box that float32 holds: any layout, form and type.

    With NaN, infinities and subnormals, and shares that are none, where `wild`.
    """
    shape = draw(SHAPES)
    low, high = box_inwards(*draw(st.sampled_from(BOXES)))
    # Numbers of its own: hypothesis would draw them one by one, at a hundred times the price.
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    special = draw(st.sampled_from([0.0, 0.1, 0.5])) if wild else 0.0

    def tensor(spread: float, odd: list[float], sizes: tuple[int, ...] = shape) -> Tensor:
        values = generator.uniform(-spread, spread, sizes).astype(np.float32)
        among = generator.choice(np.array(odd, dtype=np.float32), sizes)
        return torch.from_numpy(np.where(generator.random(sizes) < special, among, values).reshape(sizes))

    forms = [(), (1,), (shape[0],)] + ([(1, shape[1])] if per_channel and len(shape) > 1 else [])
    sizes = [8 / 255, 2 / 255, 0.0, 1e-40, math.inf]
    x = tensor(2.0, [0.0, -0.0, 1e-40, 0.1, low, high])
    share = draw(st.sampled_from(SHARES if wild else FRACTIONS))
    return Case(
        x_adv=laid_out(tensor(2.0, [*SPECIAL, low]), draw(LAYOUTS)),
        before=laid_out(tensor(2.0, [*SPECIAL, high]), draw(LAYOUTS)),
        x=laid_out(x.clamp(max(low, -3e38), min(high, 3e38)), draw(LAYOUTS)),
        grad=laid_out(tensor(1.0, SPECIAL), draw(LAYOUTS)).to(draw(DTYPES)),
        alpha=tensor(1.0, sizes, draw(st.sampled_from(forms))).abs(),
        eps=tensor(1.0, sizes, draw(st.sampled_from(forms))).abs(),
        share=torch.full(draw(st.sampled_from([(), (1,), (1, 1)])), share),
        low=low,
        high=high,
    )
