"""A statement refuses parts that contradict one another."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harden.certificate import schema as s
from harden.certificate.certificate import Certificate


def test_the_status_follows_from_the_checks(certificate: Certificate) -> None:
    with pytest.raises(ValidationError, match="status"):
        s.Predicate.model_validate({**certificate.predicate.model_dump(), "status": "unreliable"})


@pytest.mark.parametrize(("value", "passed"), [(0.1, True), (0.1000001, False)])
def test_a_check_passes_up_to_its_threshold(value: float, passed: bool) -> None:
    fields: dict[str, Any] = {"name": "n", "threshold": 0.1, "meaning": "m", "action": "a"}
    assert s.CheckRecord(value=value, passed=passed, **fields).passed == passed
    with pytest.raises(ValidationError, match=f"passed is {not passed}"):
        s.CheckRecord(value=value, passed=not passed, **fields)


def test_a_file_beyond_its_tolerance_has_no_record() -> None:
    assert s.ParityRecord(tolerance=1e-5, max_error=1e-5, batches=(1,)).reference == "float64"
    with pytest.raises(ValidationError, match="exceeds tolerance"):
        s.ParityRecord(tolerance=1e-5, max_error=1.1e-5, batches=(1,))


def test_a_statement_names_both_files_with_all_digests(certificate: Certificate) -> None:
    fields = certificate.model_dump(by_alias=True, exclude={"seal"})
    model, evidence = fields["subject"]
    assert s.Statement.model_validate(fields).subject == certificate.subject
    for subject in (
        (evidence, model),
        (model, model),
        (model,),
        ({**model, "digest": {"sha256": "01" * 32}}, evidence),
        (model, {**evidence, "digest": model["digest"]}),
    ):
        with pytest.raises(ValidationError):
            s.Statement.model_validate({**fields, "subject": subject})


@pytest.mark.parametrize("change", [{"_type": "https://in-toto.io/Statement/v2"}, {"predicateType": "urn:x"}])
def test_another_type_of_statement_is_refused(certificate: Certificate, change: dict[str, str]) -> None:
    fields = certificate.model_dump(by_alias=True, exclude={"seal"})
    with pytest.raises(ValidationError):
        s.Statement.model_validate({**fields, **change})


def test_the_limits_are_part_of_every_statement(certificate: Certificate) -> None:
    assert certificate.predicate.limits == s.LIMITS
    with pytest.raises(ValidationError, match="limits"):
        s.Predicate.model_validate({**certificate.predicate.model_dump(), "limits": ()})
