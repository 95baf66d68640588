"""Texts for an unreliable evaluation: the reasons, and the command to run next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, final

TOO_WEAK: Final = frozenset(
    {"complete optimisation", "one step beats many", "noise beats the attacks", "logit scale"}
)
"""The trust checks that show that the attacks are too weak: stronger ones resolve them. All others show that
gradients or outputs mislead, which no suite resolves."""

LONGER: Final = "--attacks pgd --steps 1000 --restarts 10"
"""Options of the attacks where the strongest suite was too weak."""


class CheckResult(Protocol):
    """A trust check of an evaluation or a certificate."""

    @property
    def name(self) -> str:
        """The check's name."""
        ...

    @property
    def value(self) -> float:
        """The value seen."""
        ...

    @property
    def threshold(self) -> float:
        """The largest value at which it does not fire."""
        ...

    @property
    def meaning(self) -> str:
        """Meaning of the value."""
        ...

    @property
    def action(self) -> str:
        """The action to take if it fires."""
        ...

    @property
    def passed(self) -> bool:
        """Return whether it did not fire."""
        ...


@final
@dataclass(frozen=True, slots=True)
class NextCommand:
    """The command to run after an unreliable evaluation, and the condition for it."""

    when: str
    command: str

    def __str__(self) -> str:
        return f"{self.when}: {self.command}"


def reason(check: CheckResult) -> str:
    """The check that fired, its numbers and the action against the cause, on one line."""
    return (
        f"{check.name}: {check.meaning}: {check.value:.3g}, expected no more than {check.threshold:.3g}; "
        f"{check.action}"
    )


def reasons(checks: Iterable[CheckResult]) -> tuple[str, ...]:
    """A line for each check that fired."""
    return tuple(reason(check) for check in checks if not check.passed)


def suite_of(attacks: Iterable[str]) -> str:
    """The suite that attacks of these names are: "standard", "thorough", or "" for another."""
    names = set(attacks)
    if "apgd-margin" not in names:
        return ""
    return "thorough" if "apgd-dlr" in names else "standard"


def next_attacks(checks: Iterable[CheckResult], suite: str) -> str:
    """The options of the attacks to run next, after a suite of this name.

    Returns:
        "" where no stronger attack would help: remove the cause, and run the same suite again.
    """
    if not any(check.name in TOO_WEAK for check in checks if not check.passed):
        return ""
    if suite == "thorough":
        return LONGER
    return f"--attacks {'thorough' if suite == 'standard' else 'standard'}"


def next_step(checks: Iterable[CheckResult], suite: str, command: str, own: str = "") -> NextCommand:
    """The command to run next: with stronger attacks where these were too weak, else with the same again.

    Args:
        checks: all of an evaluation.
        suite: of the evaluation.
        command: that evaluates again, without the options of the attacks.
        own: the options of the attacks that were made, "" for the default ones.
    """
    options = next_attacks(checks, suite)
    if options:
        return NextCommand("next", f"{command} {options}")
    return NextCommand("next, once the cause is mended", f"{command} {own}".rstrip())
