"""Findings: a check holds without problems, and a verification where every check holds."""

from __future__ import annotations

import json

import pytest

from harden.verifier.findings import CERTIFICATE, MODEL, CheckFinding, Verification, finding


@pytest.mark.parametrize(
    ("problems", "detail"),
    [
        ([], "all is well"),
        (["a"], "a"),
        (["a", "b", "c"], "a; b; c"),
        (["a", "b", "c", "d", "e"], "a; b; c (and 2 more)"),
    ],
)
def test_three_problems_are_named_and_the_others_counted(problems: list[str], detail: str) -> None:
    assert finding("counts", MODEL, iter(problems), "all is well") == CheckFinding(
        "counts", MODEL, not problems, detail
    )


def test_a_verification_holds_where_checks_ran_and_all_hold() -> None:
    good, bad = finding("seal", CERTIFICATE, [], "fits"), finding("counts", CERTIFICATE, ["a"], "")
    assert Verification((good, good)).ok
    assert not Verification((good, bad)).ok
    assert not Verification(()).ok  # nothing was checked


def test_its_json_has_every_check() -> None:
    bad = finding("counts", CERTIFICATE, ["a"], "")
    found = json.loads(json.dumps(Verification((bad,), "a headline").to_json()))
    check = {"name": "counts", "file": "certificate.json", "passed": False, "detail": "a"}
    assert found == {"ok": False, "headline": "a headline", "checks": [check]}
