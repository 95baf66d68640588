"""harden doctor: the state of the installation, printed and as JSON, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harden import installation

Harden = Callable[..., Any]
SCRIPT = "#!/usr/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n"


class Namesake:
    version = "0.0.4"


def _script(folder: Path, module: str) -> None:
    path = folder / "harden"
    path.write_text(SCRIPT.format(module=module))
    path.chmod(0o755)


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


def test_doctor_names_the_kernels_and_why(harden: Harden, tmp_path: Path) -> None:
    answer = harden("doctor", "--json", tmp_path / "doctor.json")
    found = json.loads((tmp_path / "doctor.json").read_text())
    assert answer.code == (1 if "FAILED" in found["kernels on cpu"] else 0)
    assert torch.__version__.startswith(found["torch"])
    assert found["numpy"] == np.__version__
    assert found["kernels on cpu"].partition(":")[0] in (
        "native",
        "torch",
        "FAILED to load, plain torch instead",
    )
    assert found["kernels on cpu"].partition(": ")[2]
    for name in found:
        assert name in answer.out


def test_doctor_without_native_kernels_says_torch_and_why(installed: Harden) -> None:
    answer = installed("doctor", HARDEN_NATIVE="0")
    assert answer.code == 0
    (line,) = (line for line in answer.out.splitlines() if line.startswith("kernels on cpu"))
    assert line.split("kernels on cpu")[1].strip().startswith("torch: ")
    assert "HARDEN_NATIVE" in line
