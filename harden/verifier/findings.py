"""Results of the verifier: one finding per check, and whether all of them hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, final

CERTIFICATE: Final = "certificate.json"
MODEL: Final = "model.onnx"
EVIDENCE: Final = "evidence.npz"
PAGE: Final = "report.html"


@final
@dataclass(frozen=True, slots=True)
class CheckFinding:
    """The result of one check: its name, its file, whether it holds, and a detail."""

    name: str
    file: str
    passed: bool
    detail: str


@final
@dataclass(frozen=True, slots=True)
class Verification:
    """All checks in the order in which they ran; checks after the first failed stage did not run."""

    checks: tuple[CheckFinding, ...]
    headline: str = ""

    @property
    def ok(self) -> bool:
        """Return whether every check ran and holds."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        checks = [
            {"name": c.name, "file": c.file, "passed": c.passed, "detail": c.detail} for c in self.checks
        ]
        return {"ok": self.ok, "headline": self.headline, "checks": checks}


def finding(name: str, file: str, problems: Iterable[str], good: str) -> CheckFinding:
    """Makes a finding from a list of problems: the check holds if there is none."""
    seen = list(problems)
    more = f" (and {len(seen) - 3} more)" if len(seen) > 3 else ""
    return CheckFinding(name, file, not seen, "; ".join(seen[:3]) + more if seen else good)
