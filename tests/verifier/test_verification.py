"""A stranger's folder with a seal that holds: nothing in it takes the verifier's time, memory or process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harden.system.size_limits import JSON_BYTES
from tests.verifier.artefacts import Forge, broken


def test_a_proportion_of_more_images_than_there_are_is_not_computed(artefact: Path, forge: Forge) -> None:
    """Its interval would take the longer the larger n, and overflow float64 in the end."""

    def edit(fields: dict[str, Any]) -> None:
        share = {"value": 0.5, "count": 2**62, "n": 2**63, "interval": [0.4999, 0.5001], "confidence": 0.95}
        fields["predicate"]["comparison"] = {"name": "x", "status": "ok", "clean": share, "robust": share}

    forge(artefact, edit)
    assert "proportions" in [name for name, _, _ in broken(artefact)]


@pytest.mark.parametrize("text", ['"\\ud800"', "[" * 100 + "]" * 100, "[" * 100_000])
def test_json_that_could_not_be_written_again_is_no_certificate(artefact: Path, text: str) -> None:
    (artefact / "certificate.json").write_text('{"a": ' + text + "}")
    ((name, file, _),) = broken(artefact)
    assert (name, file) == ("seal", "certificate.json")


def test_a_certificate_too_large_to_be_one_is_not_read(
    artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JSON_BYTES.variable, "1000")
    ((name, _, detail),) = broken(artefact)
    assert name == "seal"
    assert "at most 1,000 unless HARDEN_MOST_JSON_BYTES says more" in detail
    assert json.loads((artefact / "certificate.json").read_bytes())


def test_modules_in_the_strangers_folder_are_not_imported(artefact: Path) -> None:
    for name in ("numpy", "onnx", "onnxruntime", "harden", "struct", "threading"):
        (artefact / f"{name}.py").write_text("open('owned', 'w').write('')\nraise SystemExit(3)\n")
    script = Path(sys.executable).with_name("harden")
    for words in ([str(script), "verify", "."], [sys.executable, "-P", "-m", "harden.verifier", "."]):
        done = subprocess.run(words, cwd=artefact, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1].startswith("verified: ")
        assert not (artefact / "owned").exists()
