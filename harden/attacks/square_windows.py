"""Squares inside images, one an example: where they lie, as indices, and the pattern that fills them."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


def window(corner: Tensor, side: int, shape: torch.Size) -> Tensor:
    """Flat indices into images (N, C, H, W) of one square an example, int64 (N, C, side, side).

    Args:
        corner: two numbers of [0, 1) an example, float32 (N, 2): where the square lies between the first
            place and the last, downwards and to the right.
        side: of every square, at most H and W.
        shape: (N, C, H, W).
    """
    n, channels, height, width = shape
    device = corner.device
    places = torch.tensor([height - side + 1, width - side + 1], device=device)
    top, left = (corner * places).long().unbind(1)  # below `places`, for the draws keep 2^-24 from 1
    image = torch.arange(n, device=device) * (channels * height * width) + top * width + left
    within = torch.arange(side, device=device)
    square = within.view(-1, 1) * width + within
    channel = torch.arange(channels, device=device) * (height * width)
    return image.view(-1, 1, 1, 1) + channel.view(1, -1, 1, 1) + square


@functools.lru_cache(maxsize=64)
def bumps(side: int, order: int, device: torch.device) -> Tensor:
    """A hill next to an equal hollow, and the same turned by a quarter: float32 (2, side, side) of norm 1.

    The first of the two is divided across, the second down. A hill of h x w pixels is, at Chebyshev distance
    d from its middle, the sum of 1 / j^a over j = d + 1, ..., max(h, w) // 2 + 1, with a = 2 in L2
    (1912.00049) and a = 4 in L1. Shared by all callers: never written to.

    Args:
        side: of the square.
        order: 2 or 1, the norm in which each pattern has length 1.
        device: where it is wanted.
    """
    with torch.inference_mode(mode=False):
        upper, lower = _hill(side // 2, side, order), _hill(side - side // 2, side, order)
        both = torch.cat((upper, -lower))
        both /= torch.linalg.vector_norm(both, ord=order)
        return torch.stack((both, both.T)).to(torch.float32).to(device)


def _hill(height: int, width: int, order: int) -> Tensor:
    """One hill of norm 1, float64 (height, width)."""
    cpu = torch.device("cpu")  # whatever the caller's default is
    down = torch.arange(height, device=cpu) - height // 2
    along = torch.arange(width, device=cpu) - width // 2
    distance = torch.maximum(down.abs().view(-1, 1), along.abs().view(1, -1))
    number = torch.arange(1, max(height, width) // 2 + 2, dtype=torch.float64, device=cpu)
    terms = number ** (-4.0 if order == 1 else -2.0)
    hill = terms.flip(0).cumsum(0).flip(0)[distance]
    length: Tensor = torch.linalg.vector_norm(hill, ord=order)
    return hill / length.clamp_min(1e-300)  # of no rows, where a square is one pixel high


def tiles(uniform: Tensor, side: int, order: int, shape: torch.Size) -> Tensor:
    """Images filled with bumps of one side, each turned and signed at random: float32 (N, C, H, W).

    What is left over at the edges, less than one bump in all, is zero.

    Args:
        uniform: (1 + C) x rows x columns numbers of [0, 1) an example, rows = H // side, columns = W // side.
        side: of each bump.
        order: as in `bumps`.
        shape: (N, C, H, W).
    """
    n, channels, height, width = shape
    rows, columns = height // side, width // side
    drawn = uniform.view(n, 1 + channels, rows, columns)
    turned = bumps(side, order, uniform.device)[(drawn[:, 0] >= 0.5).long()]
    sign = signs(drawn[:, 1:])
    filled = sign[..., None, None] * turned.unsqueeze(1)
    out = uniform.new_zeros(shape)
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    place = out[:, :, top : top + rows * side, left : left + columns * side]
    place.copy_(filled.permute(0, 1, 2, 4, 3, 5).reshape(place.shape))
    return out


def signs(uniform: Tensor) -> Tensor:
    """1 or -1 for each number of [0, 1), with equal chances: float32."""
    return (uniform >= 0.5).to(uniform.dtype).mul_(2.0).sub_(1.0)
