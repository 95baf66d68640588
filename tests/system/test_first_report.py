"""One process of a run reports the error that ends all of them."""

from __future__ import annotations

import pytest

from harden.system import first_report
from harden.system.first_report import is_first_report, report_once


def test_one_process_always_reports() -> None:
    assert is_first_report()
    assert is_first_report()


def test_of_several_the_first_one_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_report, "_claims", [])
    reports: list[int] = []

    def claim() -> bool:
        reports.append(1)
        return len(reports) == 1

    report_once(claim)
    assert [is_first_report(), is_first_report()] == [True, False]


def test_a_process_that_can_not_know_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_report, "_claims", [])

    def lost() -> bool:
        raise RuntimeError("connection closed")

    report_once(lost)
    assert is_first_report()
