"""Records of measurements refuse numbers that contradict one another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harden.certificate import schema as s
from harden.certificate.certificate import Certificate
from harden.statistics import Proportion
from tests.certificate.conftest import proportion


def test_a_proportion_that_contradicts_itself_is_refused(certificate: Certificate) -> None:
    good = certificate.predicate.bracket.robust.model_dump()
    for change in (
        {"count": 317},
        {"value": 0.5},
        {"n": 10},
        {"interval": (0.8, 0.9)},
        {"count": -1},
        {"extra": 1},
    ):
        with pytest.raises(ValidationError):
            s.ProportionRecord.model_validate({**good, **change})


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_every_proportion_has_a_record(counts: tuple[int, int]) -> None:
    found = Proportion(*counts)
    record = s.ProportionRecord.of(found)
    assert (record.count, record.n, record.value) == (*counts, counts[0] / counts[1])
    assert (record.interval, record.confidence) == (found.interval, found.confidence)


def test_eps_is_a_positive_fraction_in_ascii() -> None:
    for eps in ("0.1", "08/255", "8/0", "-1/10", "8 / 255", "٣/10", "", "0"):
        with pytest.raises(ValidationError):
            s.ThreatRecord(norm="linf", eps=eps)
    assert s.ThreatRecord(norm="linf", eps="8/255").bounds == (0.0, 1.0)
    with pytest.raises(ValidationError, match="empty"):
        s.ThreatRecord(norm="linf", eps="8/255", bounds=(1.0, 1.0))


nested = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def packed(bits: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    return np.packbits(bits).tobytes().hex()


@given(nested, st.integers(0), st.sampled_from([1, 2]))
def test_bits_are_taken_if_and_only_if_they_are_nested(levels: list[int], place: int, row: int) -> None:
    """Level 3 is certified, 2 robust, 1 right; one bit above an empty one breaks the order."""
    n = len(levels)
    rows = [np.array(levels) >= level for level in (1, 2, 3)]
    names = ("clean_correct", "robust_correct", "certified")
    fields = {name: packed(bits) for name, bits in zip(names, rows, strict=True)}
    assert s.Bits(n=n, **fields).model_dump() == {"n": n, **fields}
    rows[row - 1][place % n], rows[row][place % n] = False, True
    broken = {name: packed(bits) for name, bits in zip(names, rows, strict=True)}
    with pytest.raises(ValidationError, match="nested"):
        s.Bits(n=n, **broken)


def test_bits_of_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValidationError, match="beyond"):
        s.Bits(n=4, clean_correct="ff", robust_correct="f0", certified="00")
    for text in ("", "ff", "fff0f0", "FFF0", "fg00"):
        with pytest.raises(ValidationError, match="does not hold 12 bits"):
            s.Bits(n=12, clean_correct=text, robust_correct="0000", certified="0000")


def test_a_bracket_names_the_method_of_its_proofs_and_is_in_order(certificate: Certificate) -> None:
    bracket = certificate.predicate.bracket
    with pytest.raises(ValidationError, match="method"):
        s.Bracket(certified=bracket.robust, robust=bracket.robust)
    for certified in (proportion(317, 450), proportion(10, 449)):
        with pytest.raises(ValidationError, match="upside down"):
            s.Bracket(certified=certified, robust=bracket.robust, method="crown")
    with pytest.raises(ValidationError):
        bracket.method = "x"


def test_certified_accuracy_does_not_rise_with_the_radius() -> None:
    def record(*points: tuple[str, int]) -> s.ProofRecord:
        compared = s.ComparedRecord(build="onnxruntime", sessions=("default",), graphs=1)
        found = tuple(s.ProofPoint(eps=eps, certified=proportion(count, 20)) for eps, count in points)
        return s.ProofRecord(
            method="crown", settings={}, points=found, complete=True, compared=compared, seconds=1.0
        )

    assert len(record(("1/20", 7), ("1/10", 7), ("1/9", 3)).points) == 3
    for points in ([("1/20", 7), ("1/10", 8)], [("1/10", 7), ("1/20", 7)], [("1/10", 7), ("2/20", 7)], []):
        with pytest.raises(ValidationError):
            record(*points)


def test_an_attack_breaks_no_more_than_it_attacked() -> None:
    fields = {"name": "pgd", "spec": {}, "robust": proportion(5, 10), "passes": 1.0, "seconds": 1.0}
    assert s.AttackRecord(attempted=10, broken=10, **fields).broken == 10  # type: ignore[arg-type]
    for attempted, broken in ((3, 4), (11, 4)):
        with pytest.raises(ValidationError, match="broken <= attempted <= n"):
            s.AttackRecord(attempted=attempted, broken=broken, **fields)  # type: ignore[arg-type]
