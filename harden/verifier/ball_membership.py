"""Membership of witnesses in the threat model, in exact rational arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.float32]

_SCALE = 149
"""Every finite float32 is an integer times 2^-149."""


def membership_problems(
    original: Images, witness: Images, threat: dict[str, Any], index: npt.NDArray[np.int64]
) -> Iterator[str]:
    """Yields, for arrays (M, C, H, W), each image that is not finite, or not in the box, or not in the ball.

    The ball is {w : ||w - o||_norm <= eps} over the rationals, with eps the fraction in the threat.
    """
    eps, (low, high) = Fraction(threat["eps"]), threat["bounds"]
    for position, image in enumerate(index.tolist()):
        o, w = original[position].ravel(), witness[position].ravel()
        for name, pixels in (("original", o), ("witness", w)):
            if not np.isfinite(pixels).all():
                yield f"{name} of image {image} is not finite"
            elif (pixels.astype(np.float64) < low).any() or (pixels.astype(np.float64) > high).any():
                yield f"{name} of image {image} leaves [{low}, {high}]"
        if not (np.isfinite(o).all() and np.isfinite(w).all()):
            continue
        if not _INSIDE[threat["norm"]](o, w, eps):
            yield f"witness of image {image} is outside the {threat['norm']} ball of {threat['eps']}"


def inside_linf(original: Images, witness: Images, eps: Fraction) -> bool:
    """Return whether max |w_i - o_i| <= eps, exactly.

    A float64 difference of two float32 is off by at most 2^-53 of itself, so float64 decides all pixels but
    those within 1e-12 of the limit; those are compared as fractions.
    """
    distance = np.abs(witness.astype(np.float64) - original.astype(np.float64))
    limit = float(eps)
    if (distance > limit * (1 + 1e-12)).any():
        return False
    near = np.flatnonzero(distance >= limit * (1 - 1e-12))
    # Pixels repeat (images come from 8 bits, attacks go to the edge): few distinct pairs are left.
    pairs = set(zip(original[near].tolist(), witness[near].tolist(), strict=True))
    return all(abs(Fraction(w) - Fraction(o)) <= eps for o, w in pairs)


def inside_l2(original: Images, witness: Images, eps: Fraction) -> bool:
    """Return whether sum (w_i - o_i)^2 <= eps^2, exactly.

    Summed in float64 with a relative error below (n + 4) 2^-52; where that does not decide, in integers.
    """
    difference = witness.astype(np.float64) - original.astype(np.float64)
    total, limit = float(difference @ difference), float(eps * eps)
    slack = (difference.size + 8) * 2.0**-52
    if total > limit * (1 + slack):
        return False
    if total < limit * (1 - slack):
        return True
    exact = sum(
        (_whole(w) - _whole(o)) ** 2 for o, w in zip(original.tolist(), witness.tolist(), strict=True)
    )
    return Fraction(exact, 1 << (2 * _SCALE)) <= eps * eps


def inside_l1(original: Images, witness: Images, eps: Fraction) -> bool:
    """Return whether sum |w_i - o_i| <= eps, exactly; in float64 first, as for L2."""
    difference = np.abs(witness.astype(np.float64) - original.astype(np.float64))
    total, limit = float(difference.sum()), float(eps)
    slack = (difference.size + 8) * 2.0**-52
    if total > limit * (1 + slack):
        return False
    if total < limit * (1 - slack):
        return True
    exact = sum(abs(_whole(w) - _whole(o)) for o, w in zip(original.tolist(), witness.tolist(), strict=True))
    return Fraction(exact, 1 << _SCALE) <= eps


_INSIDE = {"linf": inside_linf, "l2": inside_l2, "l1": inside_l1}


def _whole(value: float) -> int:
    return int(math.ldexp(value, _SCALE))


def distances(original: Images, witness: Images, norm: str) -> npt.NDArray[np.float64]:
    """The distance of each pair in float64, for arrays (M, C, H, W), as in the gallery."""
    flat = (witness.astype(np.float64) - original.astype(np.float64)).reshape(len(original), -1)
    found: npt.NDArray[np.float64]
    if norm == "linf":
        found = np.abs(flat).max(axis=1)
    elif norm == "l2":
        found = np.sqrt((flat * flat).sum(axis=1))
    else:
        found = np.abs(flat).sum(axis=1)
    return found
