"""The table of limits: each has a reason, a variable, and a row in the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from harden.errors import InputError
from harden.system import size_limits
from harden.system.size_limits import JSON_BYTES, LIMITS, SizeLimit

ROW = SizeLimit("ROW", 10, "things", "ten fit")


def test_every_limit_is_in_the_table_once_and_has_a_reason() -> None:
    defined = [each for each in vars(size_limits).values() if isinstance(each, SizeLimit)]
    assert sorted(each.name for each in defined) == sorted(each.name for each in LIMITS)
    assert len({each.variable for each in LIMITS}) == len(LIMITS)
    assert all(each.reason and each.unit and each.usual > 0 for each in LIMITS)


def test_every_limit_stands_in_the_security_page_with_its_number() -> None:
    page = (Path(__file__).parents[2] / "SECURITY.md").read_text()
    for each in LIMITS:
        assert f"| `{each.variable}` | {each.usual:,} {each.unit} |" in page, each.name


def test_an_amount_above_the_limit_is_refused_with_the_variable_that_raises_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ROW.check("a row", 10)
    with pytest.raises(InputError) as caught:
        ROW.check("a row", 11)
    assert str(caught.value) == (
        "a row of 11 things; expected at most 10; "
        "set HARDEN_MOST_ROW to a larger number if you trust the file and have the memory"
    )
    assert ROW.excess(10) == ""
    assert ROW.excess(11) == "11 things, at most 10 unless HARDEN_MOST_ROW says more"
    monkeypatch.setenv("HARDEN_MOST_ROW", "11")
    ROW.check("a row", 11)
    assert ROW.excess(11) == ""
    assert ROW.excess(12)


@pytest.mark.parametrize("said", ["", "0", "-1", "many", "1e9", "٣", "9" * 20])
def test_a_variable_that_is_no_number_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JSON_BYTES.variable, said)
    with pytest.raises(InputError, match="a positive whole number of bytes"):
        _ = JSON_BYTES.value


def test_an_amount_without_end_is_shown_short() -> None:
    with pytest.raises(InputError, match=r"of more than 10\^18 things"):
        ROW.check("a row", 10**5000)
    assert "more than 10^18" in ROW.excess(10**5000)
