"""Totals of attempts and trust checks add up over batches, field by field."""

from __future__ import annotations

from dataclasses import fields

import pytest

from harden.evaluation.results.batch_outcome import AttemptTotals, TrustCounts


@pytest.mark.parametrize("kind", [AttemptTotals, TrustCounts])
def test_every_field_is_added(kind: type[AttemptTotals] | type[TrustCounts]) -> None:
    names = [each.name for each in fields(kind)]
    one, other = kind(*range(1, 5)), kind(*range(10, 50, 10))
    one.add(other)  # type: ignore[arg-type]  # of the same kind
    assert [getattr(one, name) for name in names] == [11, 22, 33, 44]
    assert [getattr(other, name) for name in names] == [10, 20, 30, 40]
    assert [getattr(kind(), name) for name in names] == [0] * 4
