"""Suites of attacks by the names that the command line uses."""

from __future__ import annotations

import torch

from harden.errors import InputError
from harden.evaluation import Attempt, pgd_suite, quick, standard, thorough

_OF_RECORD = {"standard": standard, "thorough": thorough}
STEPS, RESTARTS = 50, 3


def suite_named(
    name: str, steps: int, restarts: int, precision: torch.dtype = torch.float32
) -> tuple[Attempt, ...]:
    """The attempts of --attacks NAME; --steps and --restarts are those of pgd.

    Raises:
        InputError: there is no such suite, or steps or restarts are given for one that has its own, or
            bfloat16 for one whose numbers are compared with others.
    """
    if name == "pgd":
        return pgd_suite(steps, restarts, precision)
    if name != "quick" and name not in _OF_RECORD:
        raise InputError(
            f"--attacks {name}", "pgd, quick, standard or thorough", "write --attacks standard, for instance"
        )
    if (steps, restarts) != (STEPS, RESTARTS):
        raise InputError(
            f"--steps {steps} --restarts {restarts} for --attacks {name}",
            "a suite with steps and restarts of its own",
            "leave them out, or write --attacks pgd",
        )
    if name == "quick":
        return quick(precision)
    if precision != torch.float32:
        raise InputError(
            f"--bfloat16 for --attacks {name}",
            "gradients in float32: bfloat16 may hide errors that a number of record has to count",
            "leave --bfloat16 out, or write --attacks quick",
        )
    return _OF_RECORD[name]()
