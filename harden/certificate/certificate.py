"""The certificate: a statement with its seal, which prints as its summary."""

from __future__ import annotations

from typing import final

from harden.certificate.formatting import summary
from harden.certificate.schema import Seal, Statement


@final
class Certificate(Statement):
    """The content of certificate.json: the fields of a statement, and its seal."""

    seal: Seal

    def __str__(self) -> str:
        return summary(self, self.seal.sha256)
