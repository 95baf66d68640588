"""Numbers of a certificate as text, and its summary."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.certificate.certificate import Certificate
from harden.certificate.formatting import THIN, duration, grouped, of_n, percent, span
from harden.statistics import Proportion
from tests.certificate.conftest import proportion

Make = Callable[..., Certificate]


def test_summary_says_every_number_with_n_and_interval(
    certificate: Certificate, make_certificate: Make
) -> None:
    text = str(certificate)
    assert "0.0 % (0 of 450; 95 % interval 0.0 to 0.9 %)  certified accuracy, no proof was attempted" in text
    assert "70.2 % (316 of 450; 95 % interval 65.7 to 74.5 %)  robust accuracy, by attack" in text
    assert "compared with: user's CNN" in text
    assert text.isprintable() or "\n" in text
    unreliable = str(make_certificate(status="unreliable"))
    assert "UNRELIABLE" in unreliable
    assert "expected no more than 0.1; Look for a gradient that is masked." in unreliable
    assert "next, once the cause is mended: harden evaluate FOLDER --data DATA" in unreliable
    assert "at most" not in unreliable


def test_a_name_of_several_lines_adds_no_line_to_the_summary(
    certificate: Certificate, make_certificate: Make
) -> None:
    """Names come from data and networks: none may imitate a line of the summary."""
    data = certificate.predicate.data.model_copy(update={"name": "digits\n  at least  100.0 %"})
    predicate = certificate.predicate.model_copy(update={"data": data})
    forged = certificate.model_copy(update={"predicate": predicate})
    assert len(str(forged).splitlines()) == len(str(certificate).splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.01234, "0.0123 s"),
        (59.4, "59.4 s"),
        (60, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (90_061, "25 h 1 min"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text.replace(" s", f"{THIN}s").replace(" min", f"{THIN}min").replace(
        " h", f"{THIN}h"
    )


def test_counts_and_shares() -> None:
    assert grouped(1_234_567) == f"1{THIN}234{THIN}567"
    assert percent(0.12345) == f"12.3{THIN}%"
    assert of_n(proportion(1_000, 20_000)) == f"1{THIN}000 of 20{THIN}000"


@given(st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_printed_interval_contains_the_interval(counts: tuple[int, int]) -> None:
    record = proportion(*counts)
    assert record.interval == pytest.approx(Proportion(*counts).interval)
    text = span(record).removesuffix(f"{THIN}%")
    low, high = (Fraction(end) / 100 for end in text.split(" to "))
    # In float64 1000 p may round to the next multiple: by far less than the last digit that is shown.
    assert low <= Fraction(record.interval[0]) + Fraction(1, 10**12)
    assert high >= Fraction(record.interval[1]) - Fraction(1, 10**12)
    assert high - low < Fraction(record.interval[1]) - Fraction(record.interval[0]) + Fraction(1, 499)
