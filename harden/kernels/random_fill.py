"""Tensors filled with counter-based random numbers: check, choose the backend, run."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.errors import InputError
from harden.kernels import philox
from harden.kernels.load_library import backend
from harden.kernels.memory_layout import refuse_shared, written

# Of Philox's key; torch carries an integer as a signed one of 64 bits.
_SEEDS = 2**64


def fill_uniform_(out: Tensor, seed: int, ids: Tensor) -> None:
    """Fills `out` with draws from {0, 1, ..., 2^24 - 1} / 2^24, functions of seed and example id, in place.

    Number j of an example is the upper 24 bits of word j % 4 of Philox4x32-10 with counter (j // 4, the id's
    low word, its high word, 0) and the seed as key. Numbers are counted in the order of the axes, whatever
    the strides. Source: Salmon, Moraes, Dror, Shaw (SC 2011).

    Guarantee: both backends return the same bits, on every device.

    Args:
        out: float32 (N, ...), overwritten; contiguous tensors need no copy.
        seed: any integer; its lowest 64 bits are the key.
        ids: the examples' ids, int64 (N,), any values.

    Raises:
        InputError: a dtype, shape or device differs from the above, or `out` shares memory with `ids` or with
            itself.
    """
    _fill("fill_uniform_", out, seed, ids)


def fill_normal_(out: Tensor, seed: int, ids: Tensor) -> None:
    """Fills `out` with draws from N(0, 1), functions of seed and example id, in place.

    With D numbers an example, h = ceil(D / 2) and u as in `fill_uniform_`: numbers j and j + h, for j < h,
    are sqrt(-2 log(u_j + 2^-24)) times cosine and sine of 2 pi u_{j + h}, in float64, rounded to float32
    (Box and Muller, 1958).

    Guarantee: the compiled library returns the same bits on every machine and device. Plain torch agrees with
    it within one unit in the last place, or 1e-14 where the number is nearly zero.

    Args:
        out: float32 (N, ...), overwritten; contiguous tensors need no copy.
        seed: any integer; its lowest 64 bits are the key.
        ids: the examples' ids, int64 (N,), any values.

    Raises:
        InputError: a dtype, shape or device differs from the above, or `out` shares memory with `ids` or with
            itself.
    """
    _fill("fill_normal_", out, seed, ids)


def _fill(name: str, out: Tensor, seed: int, ids: Tensor) -> None:
    if ids.dtype != torch.int64 or ids.dim() != 1:
        raise InputError(
            f"ids of dtype {ids.dtype} and shape {tuple(ids.shape)}",
            "an int64 tensor of shape (N,)",
            "pass torch.arange(len(out))",
        )
    if out.dtype != torch.float32 or out.dim() == 0 or len(out) != len(ids) or out.device != ids.device:
        raise InputError(
            f"out of dtype {out.dtype} and shape {tuple(out.shape)} on {out.device}, "
            f"{len(ids)} ids on {ids.device}",
            "float32 (N, ...), an id for each example on the same device",
            "pass torch.empty(len(ids), *shape, device=ids.device)",
        )
    refuse_shared("out", out, ids)
    if out.numel() == 0:
        return
    run = _native if backend(out.device).name == "native" else _in_torch
    with torch.no_grad():
        run(name, out, seed % _SEEDS, ids)


def _in_torch(name: str, out: Tensor, seed: int, ids: Tensor) -> None:
    getattr(philox, name)(out, ids, seed)


def _native(name: str, out: Tensor, seed: int, ids: Tensor) -> None:
    target = out.contiguous()
    signed = seed - _SEEDS if seed >= _SEEDS // 2 else seed
    getattr(torch.ops.harden, name)(target, ids.contiguous(), signed)
    written(out, target)
