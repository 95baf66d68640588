"""What a stranger may change in an artefact's folder, and which checks fail then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from harden.certificate.graph_digest import graph_digest
from harden.verifier.verification import verify

Forge = Callable[[Path, Callable[[dict[str, Any]], None]], None]
"""A change of a certificate's fields, sealed again."""


def broken(folder: Path) -> list[tuple[str, str, str]]:
    """Name, file and detail of each check that fails."""
    return [(c.name, c.file, c.detail) for c in verify(folder).checks if not c.passed]


def put(folder: Path, model: onnx.ModelProto, forge: Forge) -> None:
    """Put another model into the folder, with the digest of its graph."""
    (folder / "model.onnx").write_bytes(model.SerializeToString())

    def edit(fields: dict[str, Any]) -> None:
        fields["subject"][0]["digest"]["graph"] = graph_digest(model)

    forge(folder, edit)
