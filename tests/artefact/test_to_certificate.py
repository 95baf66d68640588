"""Records of a certificate from an evaluation and proofs that are written down: every number is theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harden.artefact import to_certificate
from harden.bounds import Method
from harden.certificate import schema
from harden.certificate.measurement_records import ProportionRecord
from harden.description import describe_fields
from harden.errors import InputError
from harden.evaluation.proofs.prove import ProofResult, RadiusSearch
from harden.evaluation.proofs.runtime_agreement import ComparedRuntime
from harden.statistics import Proportion
from harden.threats import L1, L2, ChannelLinf, Linf, Threat
from tests.evaluation.by_hand import written_down

SEARCH = RadiusSearch(Method(climb=None), steps=1)
COMPARED = ComparedRuntime("onnxruntime 1.0", ("all, 1 thread",), 1)


def proved(search: RadiusSearch = SEARCH, **more: Any) -> ProofResult:
    """Five images: proved at eps, broken, proved at eps / 2, wrong, not proved."""
    levels = torch.tensor([1 << search.steps, 1, 1, 0, 0])
    return ProofResult(written_down(), levels, search, 3.0, compared=COMPARED, **more)


def unpacked(bits: str, n: int) -> list[int]:
    packed = np.frombuffer(bytes.fromhex(bits), np.uint8)
    found: list[int] = np.unpackbits(packed)[:n].tolist()
    return found


def test_a_proportion_is_its_record() -> None:
    share = Proportion(3, 7)
    found = to_certificate.proportion(share)
    assert isinstance(found, ProportionRecord)
    assert (found.count, found.n, found.value) == (3, 7, 3 / 7)
    assert (found.interval, found.confidence) == (share.interval, 0.95)


@pytest.mark.parametrize(
    ("threat", "norm", "eps"),
    [(Linf("8/255"), "linf", "8/255"), (L2("0.5"), "l2", "1/2"), (L1(3), "l1", "3")],
    ids=repr,
)
def test_a_threat_is_its_norm_and_its_exact_eps(threat: Threat, norm: str, eps: str) -> None:
    found = to_certificate.threat_record(threat)
    assert (found.norm, found.eps, found.bounds) == (norm, eps, (0.0, 1.0))
    assert to_certificate.threat_record(Linf("1/4", bounds=(-1.0, 1.0))).bounds == (-1.0, 1.0)


def test_a_threat_of_several_eps_is_in_no_certificate() -> None:
    with pytest.raises(InputError) as caught:
        to_certificate.threat_record(ChannelLinf(("1/8", "1/4")))
    assert caught.value.seen == 'a claim about ChannelLinf(["1/8", "1/4"])'
    assert caught.value.expected == "a threat with one eps: Linf, L2 or L1"
    assert "harden.Linf of the largest budget" in caught.value.instead


def test_bits_are_one_for_each_image_in_order() -> None:
    found = to_certificate.bits(written_down(), proved())
    assert found.n == 5
    assert unpacked(found.clean_correct, 5) == [1, 1, 1, 0, 1]
    assert unpacked(found.robust_correct, 5) == [1, 0, 1, 0, 1]
    assert unpacked(found.certified, 5) == [1, 0, 0, 0, 0]


def test_without_a_proof_no_bit_is_certified() -> None:
    found = to_certificate.bits(written_down())
    assert unpacked(found.certified, 5) == [0] * 5
    assert len(found.certified) == len(found.clean_correct) == len(found.robust_correct) == 2


def test_the_bracket_is_from_proof_to_attack() -> None:
    found = to_certificate.bracket(written_down(), proved())
    assert (found.certified.count, found.robust.count, found.certified.n) == (1, 3, 5)
    assert found.method == str(SEARCH.method)


@pytest.mark.parametrize("given", [None, proved(RadiusSearch(SEARCH.method, steps=1, levels=(1,)))])
def test_the_lower_end_is_0_until_a_proof_is_tried_at_eps(given: ProofResult | None) -> None:
    found = to_certificate.bracket(written_down(), given)
    assert (found.certified.count, found.certified.n, found.method) == (0, 5, None)
    assert found.robust.count == 3


def test_verdicts_sum_to_the_images() -> None:
    found = to_certificate.verdicts(written_down(), proved())
    assert (found.certified, found.falsified, found.unknown) == (1, 2, 2)
    found = to_certificate.verdicts(written_down())
    assert (found.certified, found.falsified, found.unknown) == (0, 2, 3)


def test_a_proof_has_its_radii_its_settings_and_its_runtime() -> None:
    assert to_certificate.proof(None) is None
    found = to_certificate.proof(proved())
    assert found is not None
    assert [(point.eps, point.certified.count) for point in found.points] == [("1/16", 3), ("1/8", 1)]
    assert (found.method, found.settings) == (str(SEARCH.method), describe_fields(SEARCH))
    assert (found.compared.build, found.compared.sessions, found.compared.graphs) == (
        "onnxruntime 1.0",
        ("all, 1 thread",),
        1,
    )
    assert found.seconds == 3.0
    assert found.complete


def test_a_search_that_time_ended_is_not_complete() -> None:
    found = to_certificate.proof(proved(unsettled=1))
    assert found is not None
    assert not found.complete


def test_the_radii_are_those_that_were_tried() -> None:
    found = to_certificate.proof(proved(RadiusSearch(SEARCH.method, steps=2, levels=(1, 4))))
    assert found is not None
    assert [(point.eps, point.certified.count) for point in found.points] == [("1/32", 3), ("1/8", 1)]


def test_each_attempt_is_recorded_in_its_order() -> None:
    first, second = to_certificate.attacks(written_down())
    assert (first.name, first.attempted, first.broken, first.robust.count) == ("first", 4, 0, 4)
    assert (second.name, second.attempted, second.broken, second.robust.count) == ("second", 4, 1, 3)
    assert (second.passes, second.seconds) == (30.0, 1.5)
    assert second.spec == {"attack": "b", "note": "the margin in place of DLR"}


def test_classes_are_named_by_their_label_and_those_without_images_are_left_out() -> None:
    found = to_certificate.classes(written_down(), ("no", "yes", "never"))
    assert [(each.label, each.n, each.clean.count, each.robust.count) for each in found] == [
        ("no", 2, 1, 1),
        ("yes", 3, 3, 2),
    ]


@pytest.mark.parametrize("fired", [False, True])
def test_checks_are_recorded_whether_they_fired_or_not(fired: bool) -> None:
    (found,) = to_certificate.checks(written_down(fired=fired))
    assert isinstance(found, schema.CheckRecord)
    assert (found.name, found.threshold, found.passed) == ("zero gradients", 0.5, not fired)
    assert (found.value, found.meaning, found.action) == (0.75 if fired else 0.0, "a share", "mend it")


def test_a_curve_is_its_points_at_exact_eps() -> None:
    points = [(Linf(0), Proportion(4, 5)), (Linf("1/8"), Proportion(3, 5))]
    found = to_certificate.curve("pgd", points)
    assert found.attack == "pgd"
    assert [(point.eps, point.robust.count) for point in found.points] == [("0", 4), ("1/8", 3)]
