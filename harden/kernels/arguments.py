"""Checks the arguments of the step operations, whichever backend runs them."""

from __future__ import annotations

import ctypes
import functools
import math

import torch
from torch import Tensor

from harden.errors import InputError

# The error analyses of the projections (cpp_ext/l2.h, l1.h) hold for at most so many elements an example.
MOST_ELEMENTS = 2**30


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"


@functools.lru_cache(maxsize=64)
def box_inwards(low: float, high: float) -> tuple[float, float]:
    """Returns the largest box with float32 limits inside [low, high].

    Raises:
        InputError: low is above high, one of them is NaN, or no float32 number lies between them.
    """
    inner_low, inner_high = _as_float32(low), _as_float32(high)
    if inner_low < low:
        inner_low = _next_float32(inner_low, upwards=True)
    if inner_high > high:
        inner_high = _next_float32(inner_high, upwards=False)
    if not low <= high or not inner_low <= inner_high:
        raise InputError(
            f"the box is [{low}, {high}]",
            "low <= high",
            "pass the box of the pixels, such as low=0.0, high=1.0",
        )
    return inner_low, inner_high


def _as_float32(value: float) -> float:
    return ctypes.c_float(value).value


def _next_float32(value: float, *, upwards: bool) -> float:
    if value == 0.0:
        return math.ldexp(1.0 if upwards else -1.0, -149)
    bits = ctypes.c_int32.from_buffer(ctypes.c_float(value)).value
    away_from_zero = upwards == (value > 0.0)
    stepped = ctypes.c_int32(bits + (1 if away_from_zero else -1))
    return ctypes.c_float.from_buffer(stepped).value


def check_step(
    x_adv: Tensor, x: Tensor, grad: Tensor, alpha: Tensor, eps: Tensor, *, per_channel: bool
) -> None:
    """Refuses arguments that a step operation can't work on, whichever backend would run it.

    Raises:
        InputError: a dtype, a shape, a device or a layout is not what the operation needs.
    """
    if x_adv.dtype != torch.float32 or x.dtype != torch.float32:
        raise InputError(
            f"x_adv is {_described(x_adv)} and x is {_described(x)}",
            "float32 for both, whatever the model's type",
            "call .float() on the images before the attack; only the gradient may have another type",
        )
    if not grad.dtype.is_floating_point:
        raise InputError(
            f"grad is {_described(grad)}", "a floating-point tensor", "pass the gradient of the loss"
        )
    if x_adv.dim() == 0 or x_adv.shape != x.shape or x_adv.shape != grad.shape:
        raise InputError(
            f"x_adv is {_described(x_adv)}, x is {_described(x)}, grad is {_described(grad)}",
            "one shape (N, ...) for all three",
            "pass tensors of one batch, the examples along the first axis",
        )
    if x_adv.numel() > MOST_ELEMENTS * x_adv.shape[0]:
        raise InputError(
            f"x_adv is {_described(x_adv)}",
            f"at most {MOST_ELEMENTS} elements an example",
            "pass smaller images",
        )
    for name, tensor in (("x", x), ("grad", grad), ("alpha", alpha), ("eps", eps)):
        if tensor.device != x_adv.device or tensor.layout != torch.strided:
            raise InputError(
                f"{name} is {_described(tensor)} ({tensor.layout}), x_adv is on {x_adv.device}",
                "dense tensors on one device",
                f"move it with {name}.to(x_adv.device)",
            )
    check_form("alpha", alpha, x_adv, per_channel=per_channel)
    check_form("eps", eps, x_adv, per_channel=per_channel)


def check_form(name: str, value: Tensor, x_adv: Tensor, *, per_channel: bool) -> None:
    """Refuses a step size, a budget or a count that is not one for all, per example or per channel."""
    forms: list[tuple[int, ...]] = [(x_adv.shape[0],)]
    if per_channel and x_adv.dim() > 1:
        forms.append((1, x_adv.shape[1]))
    if value.dtype == torch.float32 and (value.numel() == 1 or value.shape in forms):
        return
    raise InputError(
        f"{name} is {_described(value)}",
        "float32 with 1 element or of shape " + " or ".join(map(str, forms)),
        f"write torch.tensor({name}, dtype=torch.float32, device=x_adv.device)",
    )


def dense_format(tensor: Tensor) -> torch.memory_format | None:
    """Returns the memory format in which the tensor is dense, None where it is in none that is supported."""
    if tensor.is_contiguous():
        return torch.contiguous_format
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return None
