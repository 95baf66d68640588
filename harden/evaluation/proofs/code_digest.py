"""The digest of the code that a kept result was computed by: a result does not outlive a fix of that code."""

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
"""What decides whether a proof is one."""
ATTACKS: Final = ("attacks", "draws.py", "evaluation", "graph", "kernels", "losses", "models", "threats")
"""What decides which images fall, and whether what broke them lies inside the threat model."""

_PACKAGE: Final = Path(__file__).parents[2]
_LIBRARIES: Final = ("torch", "numpy", "onnxruntime")


@cache
def code_digest(parts: tuple[str, ...]) -> str:
    """Digest the source of some of harden's files and folders, and the versions of what they compute with.

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
