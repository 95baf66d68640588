"""Digest of the code that computed a stored result, so that no result is reused after a change of it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from harden.system.package_metadata import VERSION

PROOFS: Final = (
    "artefact/runtime/executed_programs.py",
    "artefact/runtime/session.py",
    "bounds",
    "certificate/optimisation_levels.py",
    "evaluation/proofs/prove.py",
    "evaluation/sweeps/certified_radii.py",
    "evaluation/proofs/runtime_agreement.py",
    "graph",
    "statistics.py",
    "threats",
)
"""The code on which the validity of a proof depends."""
ATTACKS: Final = ("attacks", "draws.py", "evaluation", "graph", "kernels", "losses", "models", "threats")
"""The code on which attacks and the membership of their witnesses depend."""

_PACKAGE: Final = Path(__file__).parents[2]
_LIBRARIES: Final = ("torch", "numpy", "onnxruntime")


@cache
def code_digest(parts: tuple[str, ...]) -> str:
    """Digest the source of some of harden's files and folders, and the versions of their libraries.

    Args:
        parts: paths inside the package.

    Returns:
        sha256 in hex; where only compiled files are installed, of the versions alone.
    """
    libraries = [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    whole = hashlib.sha256(" ".join([VERSION, *libraries]).encode())
    for part in parts:
        place = _PACKAGE / part
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            whole.update(f"\n{file.relative_to(_PACKAGE).as_posix()}\n".encode())
            whole.update(hashlib.sha256(file.read_bytes() if file.exists() else b"").digest())
    return whole.hexdigest()
