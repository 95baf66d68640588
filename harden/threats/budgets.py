"""eps and bounds as a user writes them, as fractions, and as what the kernels take."""

from __future__ import annotations

import functools
import math
import re
from fractions import Fraction

import torch
from torch import Tensor

from harden.errors import InputError

Number = Fraction | float | int | str
_SIMPLE = 100_000
_HUGE = re.compile(r"[eE][-+]?[\d_]{4,}")
_LARGEST = Fraction(torch.finfo(torch.float32).max)


def check_bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    """Check that a box is finite and increasing, and give it as floats.

    Raises:
        InputError: it is not.
    """
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"bounds {bounds}", "a finite box with low < high", "write bounds=(0.0, 1.0)")
    return low, high


def fraction(value: Number) -> Fraction:
    """The fraction that a user means: 0.1 is 1/10, not the binary number nearest to it."""
    try:
        if isinstance(value, str) and _HUGE.search(value):  # a fraction would write out all of its digits
            raise ValueError(value)
        if isinstance(value, str | Fraction | int):
            return Fraction(value)
        # 8 / 255 in Python is a float: the simple fraction that it is the nearest float to.
        simple = Fraction(float(value)).limit_denominator(_SIMPLE)
        return simple if float(simple) == float(value) else Fraction(repr(float(value)))
    except (ValueError, ZeroDivisionError, TypeError, OverflowError):
        raise InputError(f"eps {value!r}", "a finite number or a fraction", 'write "8/255" or 0.03') from None


def radius(value: Number, bounds: tuple[float, float], *, within_box: bool = False) -> Fraction:
    """The budget that a user means.

    Raises:
        InputError: it is no number, negative, beyond float32, or wider than a box that it has to fit in.
    """
    eps, width = fraction(value), Fraction(bounds[1]) - Fraction(bounds[0])
    wide = within_box and abs(eps) > width
    guess = _in_units(abs(eps)) if wide else f'write "{abs(eps)}"'
    if eps < 0:
        raise InputError(f"eps {value}", "a budget of 0 or more", guess)
    if eps > _LARGEST:
        raise InputError(f"eps {value}", "a budget that fits in float32", "write it in pixel units of [0, 1]")
    if wide:
        raise InputError(f"eps {value}", f"at most {float(width):g}, the width of the box {bounds}", guess)
    return eps


def _in_units(eps: Fraction) -> str:
    """What was most likely meant by an eps beyond the box: one in steps of 255, or one upside down."""
    steps = eps if eps.denominator == 1 else Fraction(eps.denominator if eps.numerator == 255 else 0)
    return f"did you mean {steps}/255?" if steps in range(1, 256) else "write it in pixel units of [0, 1]"


def written(name: str, eps: Fraction, bounds: tuple[float, float], *more: str) -> str:
    """The code that makes a threat."""
    box = () if bounds == (0.0, 1.0) else (f"bounds={bounds}",)
    arguments = ", ".join((f'"{eps}"', *box, *more))
    return f"{name}({arguments})"


@functools.lru_cache(maxsize=1024)
def float32(eps: Fraction) -> float:
    """The largest float32 that is not above eps."""
    value = torch.tensor(float(eps), dtype=torch.float32)
    if Fraction(value.item()) > eps:
        value = torch.nextafter(value, torch.tensor(-math.inf))
    return float(value.item())


@functools.lru_cache(maxsize=1024)
def constant(value: float, device: torch.device) -> Tensor:
    """A float32 tensor of one element on a device, made once; it is never written to.

    So a step copies nothing to the device, and a CUDA graph that captures it finds its constants in place.
    """
    # A tensor made under inference_mode could never be used where gradients are recorded.
    with torch.inference_mode(False):
        return torch.full((1,), value, dtype=torch.float32, device=device)
