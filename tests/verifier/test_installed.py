from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_wheel_alone_and_four_packages_verify(artefact: Path, tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    built = _run(*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ".", HARDEN_PURE="1")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("harden_vision-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    four = ("numpy", "onnx", "onnxruntime", "cryptography")
    assert _run(python, "-m", "pip", "install", "-q", *four).returncode == 0
    assert _run(python, "-m", "pip", "install", "-q", "--no-deps", wheel).returncode == 0
    # -P: the checkout in the working directory must not stand in for the wheel.
    for words in ((python, "-P", "-m", "harden.verifier"), (python.with_name("harden"), "verify")):
        done = _run(*words, artefact)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1].startswith("verified: ")
    weights = bytearray((artefact / "model.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    (artefact / "model.onnx").write_bytes(weights)
    done = _run(python, "-P", "-m", "harden.verifier", artefact)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "broken: model.onnx")


@pytest.mark.slow
def test_the_wheel_holds_the_page_and_the_templates(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    assert _run(*pip, "wheel", "--no-deps", "-w", tmp_path, ".", HARDEN_PURE="1").returncode == 0
    (wheel,) = tmp_path.glob("harden_vision-*.whl")
    held = _run(sys.executable, "-m", "zipfile", "-l", wheel).stdout
    assert "harden/certificate/templates/page.html" in held
    assert "harden/certificate/templates/page.css" in held
    for name in ("harden.toml", "test_robustness.txt", "github.yml", "gitlab.yml"):
        assert f"harden/regression/templates/{name}" in held
