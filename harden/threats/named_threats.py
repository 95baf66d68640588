"""Threats by the names that the command line and the certificate use."""

from __future__ import annotations

from harden.errors import InputError
from harden.threats.budgets import Number
from harden.threats.l1 import L1
from harden.threats.l2 import L2
from harden.threats.linf import Linf


def from_name(name: str, eps: Number, bounds: tuple[float, float] = (0.0, 1.0)) -> Linf | L2 | L1:
    """Make the threat that the command line and the certificate name by norm and eps.

    Raises:
        InputError: the norm is not one of linf, l2 and l1.
    """
    if name == "linf":
        return Linf(eps, bounds)
    if name == "l2":
        return L2(eps, bounds)
    if name == "l1":
        return L1(eps, bounds)
    raise InputError(f"norm {name!r}", "linf, l2 or l1", "write --norm linf --eps 8/255, for instance")
