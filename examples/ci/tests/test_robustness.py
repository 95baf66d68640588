"""The exported model withstands what the committed one withstood: see robustness-baseline.json."""

from __future__ import annotations

from pathlib import Path

import pytest

import harden
from harden.pytest_plugin import Robustness

ROOT = Path(__file__).parents[1]


@pytest.mark.harden(margin=0.02)
def test_robustness_has_not_regressed(robustness: Robustness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare image by image; without a name it is the check of `harden check`, so keep harden.toml alike."""
    monkeypatch.chdir(ROOT)
    threat = harden.Linf("8/255")
    robustness.check("model.onnx", "npz:test.npz", threat=threat, attacks="quick", name="")
