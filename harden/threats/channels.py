"""The L-inf ball with a budget of its own for each channel."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import torch
from torch import Tensor

from harden import kernels
from harden.draws import Draws
from harden.errors import InputError
from harden.threats.budgets import Number, check_bounds, constant, float32, fraction, radius
from harden.threats.linf import Linf


@final
@dataclass(frozen=True, slots=True, init=False, repr=False)
class ChannelLinf:
    """Every pixel of channel c may change by at most eps_c: max_i |x'_ci - x_ci| <= eps_c for all c.

    For images whose channels measure different things: radar and camera, stains, bands. Steps are as long
    in each channel as its budget is large. Guarantee: as `harden.threats.Linf`, channel by channel.

    Attributes:
        channels: eps_c, as fractions.
        bounds: the box of valid pixels.

    Raises:
        InputError: a budget is no number, negative or wider than the box, or there is none; bounds are not
            increasing. When used, images of another number of channels.
    """

    channels: tuple[Fraction, ...]
    bounds: tuple[float, float]

    def __init__(self, channels: Sequence[Number], bounds: tuple[float, float] = (0.0, 1.0)) -> None:
        object.__setattr__(self, "bounds", check_bounds(bounds))
        if isinstance(channels, str) or not channels:
            raise InputError(
                f"budgets {channels!r}", "one for each channel", 'write ChannelLinf(("8/255", "4/255", 0))'
            )
        found = tuple(radius(eps, self.bounds, within_box=True) for eps in channels)
        object.__setattr__(self, "channels", found)

    def __repr__(self) -> str:
        budgets = ", ".join(f'"{eps}"' for eps in self.channels)
        box = "" if self.bounds == (0.0, 1.0) else f", bounds={self.bounds}"
        return f"ChannelLinf([{budgets}]{box})"

    @property
    def name(self) -> str:
        """The norm's name; no certificate knows it, for a certificate's eps is one number."""
        return "linf by channel"

    @property
    def eps(self) -> Fraction:
        """The largest budget: what step sizes are multiples of."""
        return max(self.channels)

    def size(self, delta: Tensor) -> Tensor:
        """max_c eps / eps_c max_i |delta_ci|, so that the ball is size <= eps: (N, C, ...) -> (N,), float64.

        Infinite where a channel without a budget has changed.
        """
        self._check(delta)
        largest = delta.double().abs().flatten(2).amax(2)
        budgets = torch.tensor([float(eps) for eps in self.channels], dtype=torch.float64).to(delta.device)
        share = torch.where(largest == 0, torch.zeros_like(largest), largest / budgets)
        return share.amax(1) * float(self.eps)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """Uniform in [x - eps_c, x + eps_c], then cut by the box."""
        self._check(x)
        noise = draws.uniform(tuple(x.shape[1:])).mul_(2.0).sub_(1.0).to(x.device)
        x_adv = x + noise * self._budgets(x.device).view(1, -1, *[1] * (x.dim() - 2))
        self.project_(x_adv, x)
        return x_adv

    def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
        """x_adv <- box(ball(x_adv + step_size eps_c / eps sign(grad))), in place.

        A step size for each example is one for all of its channels.
        """
        self._check(x)
        sizes = step_size * self._shares(x.device) if step_size.numel() == 1 else step_size
        kernels.linf_step_(x_adv, x, grad, sizes, self._budgets(x.device), *self.bounds)

    def momentum_step_(
        self, x_adv: Tensor, before: Tensor, x: Tensor, grad: Tensor, step_size: Tensor, share: float
    ) -> None:
        """As `harden.threats.momentum_step.momentum_step_`, in one pass over memory, in place."""
        self._check(x)
        sizes = step_size * self._shares(x.device) if step_size.numel() == 1 else step_size
        budgets, part = self._budgets(x.device), constant(share, x.device)
        kernels.apgd_linf_step_(x_adv, before, x, grad, sizes, budgets, part, *self.bounds)

    def project_(self, x_adv: Tensor, x: Tensor) -> None:
        """x_adv <- box(ball(x_adv)), in place."""
        self.step_(x_adv, x, x, x_adv.new_zeros(1))

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether |x'_ci - x_ci| <= eps_c and x'_ci lies in the box, as rational numbers: bool (N,)."""
        self._check(x)
        parts = [
            Linf(eps, self.bounds).contains(x_adv[:, place], x[:, place])
            for place, eps in enumerate(self.channels)
        ]
        return torch.stack(parts).all(0)

    def scaled(self, factor: Number) -> ChannelLinf:
        """The same threat with each budget multiplied by factor, up to the width of the box."""
        width = Fraction(self.bounds[1]) - Fraction(self.bounds[0])
        return ChannelLinf([min(eps * fraction(factor), width) for eps in self.channels], self.bounds)

    def _check(self, x: Tensor) -> None:
        if x.dim() < 3 or x.shape[1] != len(self.channels):
            raise InputError(
                f"images of shape {tuple(x.shape)} and budgets for {len(self.channels)} channels",
                "a budget for each channel",
                "give as many budgets as the images have channels",
            )

    def _budgets(self, device: torch.device) -> Tensor:
        return _row(tuple(float32(eps) for eps in self.channels), device)

    def _shares(self, device: torch.device) -> Tensor:
        whole = float(self.eps)
        return _row(tuple(float(eps) / whole if whole else 0.0 for eps in self.channels), device)


@functools.lru_cache(maxsize=256)
def _row(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A float32 tensor (1, C) on a device, made once; it is never written to."""
    with torch.inference_mode(False):
        return torch.tensor([values], dtype=torch.float32, device=device)
