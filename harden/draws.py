"""Counter-based randomness: an example's draws depend on the seed and its id, never on its batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden import kernels
from harden.errors import InputError

_LONG = 0xFFFFFFFFFFFFFFFF


def mix(seed: int, *values: int) -> int:
    """Derive a 64-bit seed from a seed and any number of integers (SplitMix64's finaliser, chained)."""
    state = seed & _LONG
    for value in values:
        state = (state + 0x9E3779B97F4A7C15 * ((value & _LONG) + 1)) & _LONG
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _LONG
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _LONG
        state ^= state >> 31
    return state


@final
@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """The random numbers of N examples as a function of (seed, example id).

    Args:
        seed: any integer; its lowest 64 bits are the key.
        ids: int64 tensor (N,), the examples' ids; the draws come on its device.
    """

    seed: int
    ids: Tensor

    def __post_init__(self) -> None:
        if self.ids.dtype != torch.int64 or self.ids.dim() != 1:
            raise InputError(
                f"ids of dtype {self.ids.dtype} and shape {tuple(self.ids.shape)}",
                "an int64 tensor of shape (N,)",
                "pass Draws(seed, torch.arange(len(x)))",
            )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Tensor) -> Draws:
        """Keep the examples at `index` (int64 positions or a boolean mask); their draws stay the same."""
        return Draws(self.seed, self.ids[index.to(self.ids.device)])

    def fold(self, *values: int) -> Draws:
        """Give an independent stream for the same examples, named by integers (a restart, a step)."""
        return Draws(mix(self.seed, *values), self.ids)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Draw from {0, 1, ..., 2^24 - 1} / 2^24, so from [0, 1): float32 of shape (N, *shape)."""
        values = torch.empty(len(self.ids), *shape, dtype=torch.float32, device=self.ids.device)
        kernels.fill_uniform_(values, self.seed, self.ids)
        return values

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Draw from N(0, 1) by Box and Muller's transform: float32 of shape (N, *shape)."""
        values = torch.empty(len(self.ids), *shape, dtype=torch.float32, device=self.ids.device)
        kernels.fill_normal_(values, self.seed, self.ids)
        return values
