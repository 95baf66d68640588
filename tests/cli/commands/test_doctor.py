"""harden doctor: whose `harden` it is that is installed, and that it speaks where torch is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden import installation
from harden.system import package_metadata

Harden = Callable[..., Any]
SCRIPT = "#!/usr/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n"


class Namesake:
    version = "0.0.4"


def _script(folder: Path, module: str) -> None:
    path = folder / "harden"
    path.write_text(SCRIPT.format(module=module))
    path.chmod(0o755)


def test_its_own_script_and_distribution_are_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _script(tmp_path, "harden.cli")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation, "namesake", lambda: None)
    assert installation.in_the_way() == []


def test_the_other_project_is_told_by_distribution_and_by_script(
    harden: Harden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _script(tmp_path, "dockerfiles.main")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation, "namesake", Namesake)
    answer = harden("doctor", "--json", tmp_path / "doctor.json")
    found = json.loads((tmp_path / "doctor.json").read_text())
    assert answer.code == 1
    assert "the distribution harden 0.0.4 is another project's" in found["IN THE WAY 1"]
    assert "pip uninstall harden" in found["IN THE WAY 1"]
    assert found["IN THE WAY 2"].startswith(f"{tmp_path / 'harden'}, which the shell runs")
    assert "IN THE WAY 1" in answer.out


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
