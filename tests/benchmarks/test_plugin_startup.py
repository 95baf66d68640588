"""benchmarks/plugin_startup.py: both kinds of session run and are compared."""

from __future__ import annotations

import json

import pytest

from benchmarks import plugin_startup


def test_sessions_are_timed_in_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    plugin_startup.main(["--rounds", "2"])
    said = json.loads(capsys.readouterr().out)
    assert (said["rounds"], said["without_s"] > 0) == (2, True)
    assert said["quartiles_s"][0] <= said["more_s"] <= said["quartiles_s"][1]
