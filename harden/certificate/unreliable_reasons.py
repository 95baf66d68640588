"""Why an attack number is not trusted and what to run next, in the same words wherever it is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, final

TOO_WEAK: Final = frozenset(
    {"complete optimisation", "one step beats many", "noise beats the attacks", "logit scale"}
)
"""The trust checks that say that the attacks are too weak: stronger ones settle them. All others say that the
network, or the way to it, hides something, which no suite mends."""

LONGER: Final = "--attacks pgd --steps 1000 --restarts 10"
"""What is left where the strongest suite was too weak."""


class CheckResult(Protocol):
    """A trust check, as an evaluation or a certificate holds it."""

    @property
    def name(self) -> str:
        """Of the check."""
        ...

    @property
    def value(self) -> float:
        """What was seen."""
        ...

    @property
    def threshold(self) -> float:
        """The largest value at which it does not fire."""
        ...

    @property
    def meaning(self) -> str:
        """What the value is."""
        ...

    @property
    def action(self) -> str:
        """What to do."""
        ...

    @property
    def passed(self) -> bool:
        """Whether it did not fire."""
        ...


@final
@dataclass(frozen=True, slots=True)
class NextCommand:
    """What follows an evaluation that is not trusted: a command, and whether something comes before it."""

    when: str
    command: str

    def __str__(self) -> str:
        return f"{self.when}: {self.command}"


def reason(check: CheckResult) -> str:
    """Which check fired, on what numbers, and what to do about the cause, on one line."""
    return (
        f"{check.name}: {check.meaning}: {check.value:.3g}, expected no more than {check.threshold:.3g}; "
        f"{check.action}"
    )


def reasons(checks: Iterable[CheckResult]) -> tuple[str, ...]:
    """A line for each check that fired; none where the number may be believed."""
    return tuple(reason(check) for check in checks if not check.passed)


def suite_of(attacks: Iterable[str]) -> str:
    """The suite that attacks of these names are: "standard", "thorough", or "" for another."""
    names = set(attacks)
    if "apgd-margin" not in names:
        return ""
    return "thorough" if "apgd-dlr" in names else "standard"


def next_attacks(checks: Iterable[CheckResult], suite: str) -> str:
    """The options of the attacks to evaluate by next, after a suite of this name.

    Returns:
        "" where no stronger attack would help: the cause has to be mended, and the same suite run again.
    """
    if not any(check.name in TOO_WEAK for check in checks if not check.passed):
        return ""
    if suite == "thorough":
        return LONGER
    return f"--attacks {'thorough' if suite == 'standard' else 'standard'}"


def next_step(checks: Iterable[CheckResult], suite: str, command: str, own: str = "") -> NextCommand:
    """The command to run next: by stronger attacks where these were too weak, else by the same once more.

    Args:
        checks: all of an evaluation.
        suite: by which it was made.
        command: that evaluates again, without the options of the attacks.
        own: the options of the attacks that were made, "" for the default ones.
    """
    options = next_attacks(checks, suite)
    if options:
        return NextCommand("next", f"{command} {options}")
    return NextCommand("next, once the cause is mended", f"{command} {own}".rstrip())
