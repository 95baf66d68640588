"""The state of an installation: whose `harden` it is, its kernels and versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from harden import installation
from harden.certificate.optimisation_levels import TESTED
from harden.system import package_metadata

OWN = "#!/usr/bin/python\nimport sys\nfrom harden.cli import main\nsys.exit(main())\n"


def test_its_own_script_and_distribution_are_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harden").write_text(OWN)
    (tmp_path / "harden").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation, "namesake", lambda: None)
    assert installation.in_the_way() == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("harden-vision", "harden-vision 3.1"),
        ("harden", "harden 3.1, from before it was called harden-vision: install it again"),
        (None, "none: this is a folder of sources"),
    ],
)
def test_the_distribution_is_named(monkeypatch: pytest.MonkeyPatch, name: str | None, says: str) -> None:
    class Known:
        version, metadata = "3.1", {"Name": name}

    monkeypatch.setattr(installation, "installed", lambda: None if name is None else Known())
    assert installation.state()["distribution"].startswith(says)
    assert installation.state()["harden"].startswith(package_metadata.VERSION)


@pytest.mark.parametrize("fault", ["another module", "another distribution"])
def test_another_project_breaks_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    class Namesake:
        version = "0.0.4"

    text = OWN.replace("harden.cli", "dockerfiles.main") if fault == "another module" else OWN
    (tmp_path / "harden").write_text(text)
    (tmp_path / "harden").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        installation, "namesake", Namesake if fault == "another distribution" else lambda: None
    )
    (line,) = installation.in_the_way()
    assert "pip install --force-reinstall harden-vision" in line
    found = installation.state()
    assert found["IN THE WAY 1"] == line
    assert installation.is_broken(found)


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        ({"kernels on cpu": "native: _cpu.so is loaded", "note": "FAILED"}, False),
        ({"kernels on cpu": "torch: HARDEN_NATIVE=0"}, False),
        ({"kernels on cuda": "FAILED to load, plain torch instead: no symbol"}, True),
        ({"IN THE WAY 2": "a script"}, True),
    ],
)
def test_what_is_broken(found: dict[str, str], broken: bool) -> None:
    assert installation.is_broken(found) == broken


def test_a_runtime_newer_than_the_tested_one_is_named() -> None:
    major, minor, patch = (int(part) for part in TESTED.split("."))
    for newer in (f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 1}.0", f"{major + 1}.0.0.dev3"):
        assert f"onnxruntime {newer} is newer than {TESTED}" in installation.proofs_with(newer)
    for tested in (TESTED, f"{major}.{minor - 1}.99", f"{major - 1}.99.99"):
        assert installation.proofs_with(tested) == f"bounds were tested with onnxruntime up to {TESTED}"
    assert installation.proofs_with("not installed") == "none without onnxruntime"
