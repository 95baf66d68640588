"""The distribution: found under its name of today and of before, never taken for the namesake's."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

import harden
from harden.system import package_metadata

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class Known:
    """What an environment knows of one distribution."""

    def __init__(self, scripts: Sequence[str], version: str = "3.1") -> None:
        self.version = version
        self.entry_points = [
            metadata.EntryPoint(name, f"{name}.x:main", "console_scripts") for name in scripts
        ]


OURS, OTHERS = Known(["harden", "harden-verify"]), Known(["harden"], "0.0.4")


def _environment(monkeypatch: pytest.MonkeyPatch, known: dict[str, Known]) -> None:
    def of(name: str) -> Known:
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(metadata, "distribution", of)


@pytest.mark.parametrize(
    ("known", "ours", "other"),
    [
        ({}, None, None),
        ({"harden-vision": OURS}, OURS, None),
        ({"harden": OURS}, OURS, None),
        ({"harden": OTHERS}, None, OTHERS),
        ({"harden-vision": OURS, "harden": OTHERS}, OURS, OTHERS),
        ({"harden-vision": OURS, "harden": OURS}, OURS, None),
    ],
)
def test_ours_is_told_from_the_namesake(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, Known], ours: Known | None, other: Known | None
) -> None:
    _environment(monkeypatch, known)
    found: tuple[object, object] = package_metadata.installed(), package_metadata.namesake()
    assert found == (ours, other)


def test_name_and_version_are_those_that_are_built() -> None:
    assert (PROJECT["name"], PROJECT["version"]) == (package_metadata.NAME, package_metadata.VERSION)
    assert package_metadata.versions(("harden",)) == {"harden": harden.__version__}


def test_the_version_needs_no_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    _environment(monkeypatch, {})
    assert harden.__version__ == PROJECT["version"]


def test_extras_refer_to_the_distribution_itself() -> None:
    own = [each for extra in PROJECT["optional-dependencies"].values() for each in extra if "harden" in each]
    assert own
    assert all(each.startswith(f"{package_metadata.NAME}[") for each in own)


def test_every_requirement_is_known_by_its_module() -> None:
    required = {re.split(r"[<>=\[]", each)[0] for each in PROJECT["dependencies"]}
    said = {
        str(package_metadata.missing(ModuleNotFoundError(name=module), "x"))
        .partition("pip install ")[2]
        .split(",")[0]
        for module in ("PIL", *required - {"pillow"})
    }
    assert said == required


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            "no torch that can be imported, which x",
        ),
        (ModuleNotFoundError("No module named 'scipy.stats'", name="scipy.stats"), "no scipy that"),
        (
            ImportError("libcudart.so.12: cannot open", name="torch"),
            "no torch that can be imported (libcudart",
        ),
        (ImportError("blocked: rich"), "no rich that can be imported (blocked: rich)"),
    ],
)
def test_a_missing_requirement_is_named_with_what_installs_it(error: ImportError, says: str) -> None:
    said = package_metadata.missing(error, "x")
    assert said is not None
    assert said.startswith(says)
    assert "; expected " in said
    assert "pip install harden-vision" in said


@pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError(name="mine"), ImportError("no such name", name="harden.losses"), ImportError()],
)
def test_what_is_not_ours_to_require_is_not_explained(error: ImportError) -> None:
    assert package_metadata.missing(error, "x") is None
