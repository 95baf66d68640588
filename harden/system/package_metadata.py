"""Metadata of this package's distribution: its name on the index, version and requirements."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from typing import Final

NAME: Final = "harden-vision"
"""The name on the package index, where `harden` is another project with a module and script of our names."""

VERSION: Final = "0.2.0"
"""The version of the running code, independent of metadata that other installations have left."""

_NAMESAKE: Final = "harden"
_OWN_SCRIPT: Final = "harden-verify"
_REQUIREMENTS: Final = {
    "PIL": "pillow",
    "cryptography": "cryptography",
    "jinja2": "jinja2",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "onnxscript": "onnxscript",
    "pydantic": "pydantic",
    "rich": "rich",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "torch": "torch",
    "torchvision": "torchvision",
    "typer": "typer",
}
"""The distributions that this one depends on, by the modules that are imported."""


def installed() -> metadata.Distribution | None:
    """Return the metadata of the distribution of this package; None where it runs from a folder.

    An editable installation from before the distribution was renamed is found as well.
    """
    for name in (NAME, _NAMESAKE):
        found = _of(name)
        if found is not None and _is_ours(found):
            return found
    return None


def namesake() -> metadata.Distribution | None:
    """Return the metadata of the other project called `harden`, where it is installed in this environment."""
    found = _of(_NAMESAKE)
    return None if found is None or _is_ours(found) else found


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the version of each package by its name; that of `harden` is this code's own.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    return {name: VERSION if name == "harden" else metadata.version(name) for name in names}


def _of(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _is_ours(found: metadata.Distribution) -> bool:
    # By a script that no other project installs: the other `harden` has the same name, module and first
    # script.
    return any(entry.name == _OWN_SCRIPT for entry in found.entry_points)


def missing(error: ImportError, what: str) -> str | None:
    """Make the message for a requirement that can't be imported; None where the module is no requirement.

    Args:
        error: the exception of the import.
        what: name of the part that needs the module.
    """
    words = {(error.name or "").partition(".")[0]} if error.name else set(re.findall(r"\w+", str(error)))
    module = next((name for name in _REQUIREMENTS if name in words), None)
    if module is None:
        return None
    reason = "" if isinstance(error, ModuleNotFoundError) else f" ({' '.join(str(error).split())[:200]})"
    return (
        f"no {module} that can be imported{reason}, which {what} needs; expected {NAME} with its "
        f"dependencies; run pip install {_REQUIREMENTS[module]}, or pip install {NAME} for all of them"
    )
