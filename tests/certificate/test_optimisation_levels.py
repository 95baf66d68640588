"""The runtime's levels of graph optimisation, and the version that bounds were tested with."""

from __future__ import annotations

import re
from pathlib import Path

import onnxruntime
import pytest

from harden import installation
from harden.certificate.optimisation_levels import DEFAULT, LEVELS, TESTED

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def test_the_default_is_that_of_a_session() -> None:
    assert LEVELS[DEFAULT] == onnxruntime.SessionOptions().graph_optimization_level


def test_tested_is_the_version_that_ci_installs() -> None:
    """A newer pin is tested before it is called so."""
    (pinned,) = re.findall(r"^onnxruntime==(\S+)", CONSTRAINTS.read_text(), re.MULTILINE)
    assert pinned == TESTED


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (TESTED, f"tested with onnxruntime up to {TESTED}"),
        ("1.20.0", f"tested with onnxruntime up to {TESTED}"),
        ("1.100.0", f"onnxruntime 1.100.0 is newer than {TESTED}"),
        ("2.0.0rc1", f"onnxruntime 2.0.0rc1 is newer than {TESTED}"),
        ("not installed", "none without onnxruntime"),
    ],
)
def test_doctor_says_when_the_installed_runtime_is_newer(version: str, said: str) -> None:
    assert said in installation.proofs_with(version)
