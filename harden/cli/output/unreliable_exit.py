"""Output of commands where a trust check fired, and the one rule from a status to an exit code."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from harden.certificate.unreliable_reasons import CheckResult, NextCommand, next_step, reasons
from harden.cli.output.console import say
from harden.cli.output.exit_codes import BAD, GOOD
from harden.evaluation.suite_lookup import DEFAULT, RESTARTS, STEPS


def exit_code(*statuses: str) -> int:
    """The exit code of a command whose results have these statuses: 0 where all are "ok", else 1."""
    return GOOD if all(status == "ok" for status in statuses) else BAD


def step_after(
    words: Sequence[str],
    checks: Iterable[CheckResult],
    suite: str,
    steps: int = STEPS,
    restarts: int = RESTARTS,
) -> NextCommand | None:
    """What to run next after an evaluation with these checks; None where none fired.

    Args:
        words: the command that evaluates again, behind `harden`, without the options of the attacks.
        checks: all of the evaluation.
        suite: by which it was made.
        steps: of the suite, if it is `pgd`.
        restarts: likewise.
    """
    checks = tuple(checks)
    if all(check.passed for check in checks):
        return None
    own = "" if suite == DEFAULT else f"--attacks {suite}"
    if suite == "pgd" and (steps, restarts) != (STEPS, RESTARTS):
        own += f" --steps {steps} --restarts {restarts}"
    return next_step(checks, suite, shlex.join(["harden", *words]), own)


def evaluate_words(model: Sequence[str], data: str, norm: str, eps: str) -> list[str]:
    """The words of `harden evaluate` for a model, as its spec and options are typed."""
    return ["evaluate", *model, "--data", data, "--norm", norm, "--eps", eps]


def say_why(checks: Iterable[CheckResult], step: NextCommand | None, at: str = "") -> None:
    """Print which checks fired, on what numbers, and what to run next.

    Args:
        checks: all of an evaluation.
        step: what to run next.
        at: the eps, where there are several.
    """
    for line in reasons(checks):
        say(f"unreliable{f' at eps {at}' if at else ''}: {line}")
    if step is not None:
        say(str(step))
