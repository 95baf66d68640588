"""The choice of one process that reports an error which ends all of them."""

from __future__ import annotations

from collections.abc import Callable

_claims: list[Callable[[], bool]] = []


def report_once(claim: Callable[[], bool]) -> None:
    """Let a function decide whether this process reports: True in the first process that calls it."""
    _claims[:] = [claim]


def is_first_report() -> bool:
    """Return whether this process reports the error that ends it: the first one of a run, or the only one."""
    for claim in _claims:
        try:
            return claim()
        except Exception:  # the store of the processes is gone with one of them
            return True
    return True
