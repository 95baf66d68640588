"""The three answers of the gate and their exit codes."""

from __future__ import annotations

from enum import StrEnum
from typing import final

GOOD, REGRESSED, UNDECIDED = 0, 1, 3
"""Exit codes: 3 where inconclusive is to fail on request."""


@final
class GateAnswer(StrEnum):
    """The three answers."""

    PASS = "PASS"  # noqa: S105  # not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
