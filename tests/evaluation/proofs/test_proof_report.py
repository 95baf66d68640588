"""The report of proofs: each number is that of the result, and what is not trusted or proved says so."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harden.bounds import Method
from harden.description import describe_fields
from harden.evaluation.proofs.proof_report import LIMITS, ProofReport
from harden.evaluation.proofs.prove import ProofResult, RadiusSearch
from harden.evaluation.proofs.runtime_agreement import ComparedRuntime, Disagreement
from tests.evaluation.by_hand import written_down

SEARCH = RadiusSearch(Method(climb=None), steps=2)
COMPARED = ComparedRuntime("onnxruntime 1.0", ("all, 1 thread", "disabled, 1 thread"), 2)
APART = Disagreement("all", 3, 1, 0.5, 0.25, 0.375)


def result(fired: bool = False, left: int = 0, **more: Any) -> ProofResult:
    """Five images: proved at eps, broken, proved at half of eps, wrong, not proved at all."""
    levels = torch.tensor([4, 1, 2, 0, 0])
    fields: dict[str, Any] = {"compared": COMPARED, **more}
    return ProofResult(written_down(fired=fired, left=left), levels, SEARCH, 3.0, **fields)


def report(given: ProofResult | None = None, next_command: str | None = None) -> ProofReport:
    return ProofReport.of(given or result(), "ab" * 32, 7, next_command)


def test_each_image_has_its_verdict_and_its_radius() -> None:
    found = report()
    assert found.n == 5
    assert found.verdicts == ["certified", "falsified", "unknown", "falsified", "unknown"]
    # In quarters of eps = 1/8.
    assert [Fraction(radius) for radius in found.radii] == [Fraction(k, 32) for k in (4, 1, 2, 0, 0)]
    counts = found.counts
    assert (counts.certified, counts.falsified, counts.unknown) == (1, 2, 2)


def test_certified_is_the_lower_bound_and_robust_the_upper_one() -> None:
    found = report()
    assert (found.certified.count, found.certified.n) == (1, 5)
    assert found.robust is not None
    assert (found.robust.count, found.clean.count) == (3, 4)
    assert found.certified.count <= found.robust.count <= found.clean.count


def test_the_curve_falls_from_the_smallest_radius_to_eps() -> None:
    curve = report().curve
    assert [point.eps for point in curve] == ["1/32", "1/16", "3/32", "1/8"]
    assert [point.certified.count for point in curve] == [3, 2, 1, 1]


def test_the_settings_are_those_of_threat_search_and_attacks() -> None:
    found = report()
    assert (found.threat.norm, found.threat.eps, found.threat.bounds) == ("linf", "1/8", (0.0, 1.0))
    assert found.clipped_to == (0.0, 1.0)
    assert found.method == str(SEARCH.method)
    assert found.settings == describe_fields(SEARCH)
    assert found.attacks == ["first", "second"]
    assert (found.sha256, found.seed, found.seconds) == ("ab" * 32, 7, 5.0)
    assert found.limits == list(LIMITS)


def test_an_evaluation_that_is_not_trusted_gives_no_upper_bound_and_the_reasons() -> None:
    found = report(result(fired=True), "harden certify again")
    assert (found.status, found.robust, found.next) == ("unreliable", None, "harden certify again")
    (reason,) = found.reasons
    assert reason.startswith("zero gradients: a share: 0.75, expected no more than 0.5")
    # What is proved is proved all the same.
    assert found.certified.count == 1


def test_a_trusted_evaluation_gives_none() -> None:
    found = report()
    assert (found.status, found.reasons, found.next) == ("ok", [], None)


def test_what_is_left_is_the_sum_of_what_was_not_attacked_tried_or_finished() -> None:
    found = report(result(left=11, untried=2, stopped=1, unsettled=4))
    assert (found.not_attacked, found.not_tried, found.stopped) == (11, 2, 1)
    assert found.left == 14
    assert found.unsettled == 4
    assert not found.complete


@pytest.mark.parametrize(
    ("left", "more", "complete"), [(0, {}, True), (1, {}, False), (0, {"unsettled": 1}, False)]
)
def test_complete_means_that_all_ended_by_itself(left: int, more: dict[str, Any], complete: bool) -> None:
    assert report(result(left=left, **more)).complete is complete


def test_the_compared_runtime_and_where_it_leaves_its_bounds() -> None:
    found = report()
    assert found.compared.build == "onnxruntime 1.0"
    assert found.compared.sessions == list(COMPARED.sessions)
    assert found.compared.graphs == 2
    assert found.disagreement is None
    assert report(result(disagreement=APART)).disagreement == str(APART)


def test_json_is_read_back_and_a_field_more_is_refused() -> None:
    found = report()
    said = json.loads(found.model_dump_json())
    assert ProofReport.model_validate(said) == found
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ProofReport.model_validate({**said, "more": 1})
    with pytest.raises(ValidationError, match="verdicts"):
        ProofReport.model_validate({**said, "verdicts": ["proved"] * 5})


def test_a_report_can_not_be_changed() -> None:
    found = report()
    with pytest.raises(ValidationError, match="frozen"):
        found.status = "ok"


def test_the_limits_name_what_no_proof_covers() -> None:
    text = " ".join(LIMITS)
    for word in ("TF32", "bfloat16", "Winograd", "Another version", "shift of the distribution", "Unknown"):
        assert word in text
