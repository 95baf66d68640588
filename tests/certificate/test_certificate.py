"""A certificate is its statement with a seal, and prints as its summary."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harden.certificate.certificate import Certificate
from harden.certificate.formatting import summary


def test_it_prints_as_the_summary_with_its_own_seal(certificate: Certificate) -> None:
    text = str(certificate)
    assert text == summary(certificate, certificate.seal.sha256)
    assert text.endswith(f"seal sha256 {certificate.seal.sha256} (not a signature)")


def test_a_statement_without_a_seal_is_no_certificate(certificate: Certificate) -> None:
    fields = certificate.model_dump(by_alias=True)
    assert Certificate.model_validate(fields) == certificate
    del fields["seal"]
    with pytest.raises(ValidationError, match="seal"):
        Certificate.model_validate(fields)
    for digest in ("", "AB" * 32, "ab" * 31):
        with pytest.raises(ValidationError, match=r"seal\.sha256"):
            Certificate.model_validate({**fields, "seal": {"sha256": digest}})
