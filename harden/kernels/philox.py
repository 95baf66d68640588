"""Counter-based random numbers in plain torch: the compiled ones' definition, and what runs without them.

Uniform numbers have the same bits in both. Of normal numbers one in many millions differs by a unit in the
last place: torch's logarithm, cosine and sine in float64 are not the compiled library's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WORD = 0xFFFFFFFF
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Apply Philox4x32-10 to counters of 32-bit words held in int64 tensors that broadcast together.

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
    """
    words, keys = list(counter), list(key)
    for _ in range(_ROUNDS):
        # A product of two 32-bit words wraps in int64 but keeps its 64 bits; the masks recover both halves.
        first, second = words[0] * _MULTIPLIERS[0], words[2] * _MULTIPLIERS[1]
        words = [
            ((second >> 32) & WORD) ^ words[1] ^ keys[0],
            second & WORD,
            ((first >> 32) & WORD) ^ words[3] ^ keys[1],
            first & WORD,
        ]
        keys = [(keys[0] + _WEYL[0]) & WORD, (keys[1] + _WEYL[1]) & WORD]
    return words


def words(seed: int, ids: Tensor, count: int) -> Tensor:
    """32-bit words as int64 (N, count); word j of an example is output j % 4 of counter j // 4."""
    blocks = (count + 3) // 4
    ids = ids.unsqueeze(1)
    block = torch.arange(blocks, device=ids.device).unsqueeze(0)
    counter = (block, ids & WORD, (ids >> 32) & WORD, torch.zeros_like(ids))
    shape = (len(ids), blocks)
    made = philox(counter, (seed & WORD, (seed >> 32) & WORD))
    return torch.stack([word.expand(shape) for word in made], dim=2).flatten(1)[:, :count]


def fill_uniform_(out: Tensor, ids: Tensor, seed: int) -> None:
    """Fills `out` with the upper 24 bits of each word over 2^24; see `harden.kernels.fill_uniform_`."""
    with torch.no_grad():
        made = words(seed, ids, math.prod(out.shape[1:]))
        out.copy_(((made >> 8).to(torch.float32) * 2.0**-24).view(out.shape))


def fill_normal_(out: Tensor, ids: Tensor, seed: int) -> None:
    """Fills `out` with the pairs that Box and Muller make of words; see `harden.kernels.fill_normal_`."""
    with torch.no_grad():
        count = math.prod(out.shape[1:])
        half = (count + 1) // 2
        made = (words(seed, ids, 2 * half) >> 8).to(torch.float64)
        radius = torch.sqrt(-2.0 * torch.log((made[:, :half] + 1.0) * 2.0**-24))
        angle = made[:, half:] * (2.0 * math.pi * 2.0**-24)
        pair = torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
        out.copy_(pair[:, :count].to(torch.float32).view(out.shape))
