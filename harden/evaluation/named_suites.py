"""Suites of attacks by the names that options use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from harden.errors import InputError
from harden.evaluation import Attempt, pgd_suite, quick, standard, thorough

_OF_RECORD = {"standard": standard, "thorough": thorough}
DEFAULT = "standard"
"""Of every command that evaluates."""

STEPS, RESTARTS = 50, 3


@final
@dataclass(frozen=True, slots=True)
class Chosen:
    """A suite by its name, with the steps and restarts of `pgd`."""

    attacks: str
    steps: int
    restarts: int


def chosen(attacks: str, steps: int | None, restarts: int | None) -> Chosen:
    """The suite that the options mean: who gives steps or restarts alone means `pgd`, which has these."""
    given = steps is not None or restarts is not None
    name = attacks or ("pgd" if given else DEFAULT)
    return Chosen(name, STEPS if steps is None else steps, RESTARTS if restarts is None else restarts)


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
