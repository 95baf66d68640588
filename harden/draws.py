"""Counter-based randomness: an example's draws depend on the seed and its id, never on its batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.errors import InputError

_WORD = 0xFFFFFFFF
_LONG = 0xFFFFFFFFFFFFFFFF
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def mix(seed: int, *values: int) -> int:
    """Derive a 64-bit seed from a seed and any number of integers (SplitMix64's finaliser, chained)."""
    state = seed & _LONG
    for value in values:
        state = (state + 0x9E3779B97F4A7C15 * ((value & _LONG) + 1)) & _LONG
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _LONG
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _LONG
        state ^= state >> 31
    return state


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Apply Philox4x32-10 to counters of 32-bit words held in int64 tensors that broadcast together.

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
    """
    words, keys = list(counter), list(key)
    for _ in range(_ROUNDS):
        # A product of two 32-bit words wraps in int64 but keeps its 64 bits; the masks recover both halves.
        first, second = words[0] * _MULTIPLIERS[0], words[2] * _MULTIPLIERS[1]
        words = [
            ((second >> 32) & _WORD) ^ words[1] ^ keys[0],
            second & _WORD,
            ((first >> 32) & _WORD) ^ words[3] ^ keys[1],
            first & _WORD,
        ]
        keys = [(keys[0] + _WEYL[0]) & _WORD, (keys[1] + _WEYL[1]) & _WORD]
    return words


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
        return Draws(self.seed, self.ids[index])

    def fold(self, *values: int) -> Draws:
        """Give an independent stream for the same examples, named by integers (a restart, a step)."""
        return Draws(mix(self.seed, *values), self.ids)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Draw from {0, 1, ..., 2^24 - 1} / 2^24, so from [0, 1): float32 of shape (N, *shape)."""
        count = math.prod(shape)
        unit = (self._words(count) >> 8).to(torch.float32) * 2.0**-24
        return unit.view(len(self.ids), *shape)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Draw from N(0, 1) by Box and Muller's transform: float32 of shape (N, *shape)."""
        count = math.prod(shape)
        half = (count + 1) // 2
        words = (self._words(2 * half) >> 8).to(torch.float64)
        radius = torch.sqrt(-2.0 * torch.log((words[:, :half] + 1.0) * 2.0**-24))
        angle = words[:, half:] * (2.0 * math.pi * 2.0**-24)
        pair = torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
        return pair[:, :count].to(torch.float32).view(len(self.ids), *shape)

    def _words(self, count: int) -> Tensor:
        """32-bit words as int64 (N, count); word j of an example is output j % 4 of counter j // 4."""
        blocks = (count + 3) // 4
        ids = self.ids.unsqueeze(1)
        block = torch.arange(blocks, device=ids.device).unsqueeze(0)
        counter = (block, ids & _WORD, (ids >> 32) & _WORD, torch.zeros_like(ids))
        words = philox(counter, (self.seed & _WORD, (self.seed >> 32) & _WORD))
        shape = (len(self.ids), blocks)
        return torch.stack([word.expand(shape) for word in words], dim=2).flatten(1)[:, :count]
