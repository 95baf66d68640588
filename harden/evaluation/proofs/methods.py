"""Methods of proof by the names that the command line uses."""

from __future__ import annotations

from harden.bounds import Branching, Method, SlopeAscent
from harden.errors import InputError
from harden.evaluation.proofs.prove import RadiusSearch

METHODS = ("ibp", "crown", "alpha-crown", "branch-and-bound")
PARTS = 1000
"""Most subproblems of branch and bound per proof, the same on every machine."""
CERTIFICATE_STEPS = 2
"""Steps of the bisection of radii in certificates: quarters of eps."""


def method_named(name: str) -> Method:
    """The method of --method NAME.

    Raises:
        InputError: there is none of that name.
    """
    match name:
        case "ibp":
            return Method(climb=None, backward=False)
        case "crown":
            return Method(climb=None)
        case "alpha-crown":
            return Method(climb=SlopeAscent())
        case "branch-and-bound":
            return Method(climb=SlopeAscent(), branching=Branching(seconds=None, parts=PARTS))
    raise InputError(f"--method {name}", " or ".join(METHODS), "write --method alpha-crown")


def search_named(name: str, minutes: float | None) -> RadiusSearch | None:
    """The search of --prove NAME and --prove-minutes; None for "none".

    Raises:
        InputError: there is no such method, or minutes are not positive or without a method.
    """
    if name != "none":
        try:
            return RadiusSearch(method_named(name), CERTIFICATE_STEPS, minutes)
        except InputError as error:
            seen = error.seen.replace("--method", "--prove")
            raise InputError(seen, error.expected, error.instead.replace("--method", "--prove")) from None
    if minutes is not None:
        raise InputError(
            f"--prove-minutes {minutes:g} without --prove", "a proof to spend them on", "write --prove crown"
        )
    return None
