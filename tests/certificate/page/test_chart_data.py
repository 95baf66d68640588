"""The charts and tables that are made of a certificate's curve, proofs and history."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.certificate import schema as s
from harden.certificate.certificate import Certificate
from harden.certificate.page.chart_data import curve_chart, stages, thin
from tests.certificate.conftest import proportion


@given(st.integers(0, 500), st.integers(2, 60))
def test_thinning_keeps_order_and_both_ends(n: int, most: int) -> None:
    kept = thin(range(n), most)
    assert len(kept) == min(n, most)
    assert kept == sorted(set(kept))
    if n > 1:
        assert (kept[0], kept[-1]) == (0, n - 1)
        steps = [b - a for a, b in itertools.pairwise(kept)]
        assert max(steps) - min(steps) <= 1 or n <= most


def test_the_curve_is_drawn_by_increasing_eps_whatever_its_order() -> None:
    points = tuple(
        s.CurvePointRecord(eps=eps, robust=proportion(count, 20))
        for eps, count in (("0", 20), ("1/10", 9), ("1/4", 0))
    )
    one, other = (
        curve_chart(s.CurveRecord(attack="pgd", points=each), "1/10") for each in (points, points[::-1])
    )
    assert one == other
    (line,) = re.findall(r'<polyline class="line robust" points="([^"]+)"', one)
    places = [float(pair.split(",")[0]) for pair in line.split()]
    assert (places[1] - places[0]) / (places[2] - places[0]) == pytest.approx(0.4, abs=1e-3)
    (mark,) = re.findall(r'<line class="mark" x1="([^"]+)"', one)
    assert float(mark) == places[1]


def test_proofs_are_a_line_of_their_own() -> None:
    curve = s.CurveRecord(attack="pgd", points=(s.CurvePointRecord(eps="1/10", robust=proportion(9, 20)),))
    proof = s.ProofRecord(
        method="crown",
        settings={},
        points=tuple(s.ProofPoint(eps=e, certified=proportion(c, 20)) for e, c in (("1/20", 8), ("1/10", 5))),
        complete=True,
        compared=s.ComparedRecord(build="b", sessions=("default",), graphs=1),
        seconds=1,
    )
    svg = curve_chart(curve, "1/10", proof)
    assert "1 points by attack, 2 by proof" in svg
    assert svg.count('<polyline class="line certified"') == 1
    assert "certified" not in curve_chart(curve, "1/10")


def test_each_stage_has_its_charts_and_a_short_table(certificate: Certificate) -> None:
    pretrain, finetune = stages(certificate)
    assert (pretrain.name, finetune.name) == ("pretrain", "finetune")
    # No accuracy is measured in pretraining.
    assert (len(pretrain.charts), len(finetune.charts)) == (1, 2)
    history = certificate.predicate.history
    losses = [point for point in history if point.stage == "pretrain"]
    assert len(losses) > len(pretrain.rows) == 40
    assert pretrain.thinned == len(losses)
    # Rows that hold an accuracy go before those of loss alone.
    measured = tuple(point for point in history if point.clean is not None)
    assert finetune.rows == measured
