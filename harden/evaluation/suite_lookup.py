"""Suites of attacks by the names that options use, and those of a user's function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from harden.errors import InputError
from harden.evaluation.attempt import Attempt
from harden.evaluation.suite_definitions import pgd_suite, quick, standard, thorough
from harden.evaluation.trust.closing_attempts import RESERVED
from harden.system.named_function import call_function, import_function, is_function

_OF_RECORD = {"standard": standard, "thorough": thorough}
DEFAULT = "standard"
"""Of every command that evaluates."""

STEPS, RESTARTS = 50, 3
NAMES = (*_OF_RECORD, "quick", "pgd")
_FORMS = f"{', '.join(NAMES)} or module:function"


@final
@dataclass(frozen=True, slots=True)
class SuiteChoice:
    """A suite by its name, with the steps and restarts of `pgd`."""

    attacks: str
    steps: int
    restarts: int


DEFAULT_SUITE = SuiteChoice(DEFAULT, STEPS, RESTARTS)
"""Of a command without --attacks, --steps and --restarts."""


def chosen(attacks: str, steps: int | None, restarts: int | None) -> SuiteChoice:
    """The suite that the options mean; steps or restarts without a name mean `pgd`."""
    given = steps is not None or restarts is not None
    name = attacks or ("pgd" if given else DEFAULT)
    return SuiteChoice(name, STEPS if steps is None else steps, RESTARTS if restarts is None else restarts)


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
    if name not in NAMES:
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


def suite_of(
    name: str, steps: int = STEPS, restarts: int = RESTARTS, precision: torch.dtype = torch.float32
) -> tuple[Attempt, ...]:
    """The attempts of a suite's name, or those that a user's function `module:function` returns.

    This imports and calls the function. A name out of a file of someone else's (a baseline) goes to
    `suite_named` instead, which runs no code but harden's.

    The function takes no arguments, or `precision` (a torch.dtype, that of --bfloat16), and returns one
    `harden.evaluation.Attempt` or a tuple of them.

    Raises:
        InputError: see `suite_named`; there is no such function, or it returns something else.
    """
    if not is_function(name):
        if name not in NAMES:
            raise InputError(f"--attacks {name}", _FORMS, "write --attacks standard, for instance")
        return suite_named(name, steps, restarts, precision)
    if (steps, restarts) != (STEPS, RESTARTS):
        raise InputError(
            f"--steps {steps} --restarts {restarts} for --attacks {name}",
            "a function whose attacks have steps and restarts of their own",
            "leave them out, or write --attacks pgd",
        )
    function = import_function(name, f"--attacks is {_FORMS}")
    returned = call_function(name, function, "a tuple of attempts", precision=precision)
    attempts = (returned,) if isinstance(returned, Attempt) else returned
    if (
        not isinstance(attempts, tuple | list)
        or not attempts
        or not all(isinstance(attempt, Attempt) for attempt in attempts)
    ):
        raise InputError(
            f"--attacks {name}, which returned {_said(returned)}",
            "a tuple of harden.evaluation.Attempt, with one at least",
            'return (Attempt("my-attack", MyAttack()),)',
        )
    if precision != torch.float32 and all(attempt.precision != precision for attempt in attempts):
        raise InputError(
            f"--bfloat16 for --attacks {name}",
            "an attempt with gradients in bfloat16",
            "give the function a parameter `precision`, and pass it to Attempt; or leave --bfloat16 out",
        )
    names = [attempt.name for attempt in attempts]
    if len({*names, *RESERVED}) < len(names) + len(RESERVED):
        raise InputError(
            f"--attacks {name}, whose attempts are named {', '.join(names)}",
            f"names that differ from each other and from {', '.join(RESERVED)}, which every evaluation adds",
            "rename them",
        )
    return tuple(attempts)


def _said(returned: object) -> str:
    if isinstance(returned, tuple | list):
        kinds = ", ".join(type(part).__name__ for part in returned)
        return f"a {type(returned).__name__} of ({kinds})"
    return f"a value of type {type(returned).__name__}"
