"""Trust checks can be neither dropped nor loosened, and attacks can't hide what they did not attempt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.verifier.verification import verify

Forge = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def _drop(p: dict[str, Any]) -> None:
    p["checks"] = []


def _loosen(p: dict[str, Any]) -> None:
    p["checks"][1].update(value=0.9, threshold=0.95)


def _overlook(p: dict[str, Any]) -> None:
    p["checks"][1].update(value=0.9, passed=True)


def _fewer(p: dict[str, Any]) -> None:
    p["attacks"][0]["attempted"] = p["attacks"][0]["broken"]


def _no_start(p: dict[str, Any]) -> None:
    p["curve"]["points"] = p["curve"]["points"][1:]


@pytest.mark.parametrize(
    ("edit", "check"),
    [
        (_drop, "status"),
        (_loosen, "status"),
        (_overlook, "status"),
        (_fewer, "attacks"),
        (_no_start, "curve"),
    ],
)
def test_a_resealed_forgery_breaks(
    artefact: Path, forge: Forge, edit: Callable[[dict[str, Any]], None], check: str
) -> None:
    assert verify(artefact).ok
    forge(artefact, lambda fields: edit(fields["predicate"]))
    assert check in {found.name for found in verify(artefact).checks if not found.passed}
