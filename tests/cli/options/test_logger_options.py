"""--log names trackers, which are refused before the work and written to during it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harden.cli.options.logger_options import trackers
from harden.errors import InputError

Harden = Callable[..., Any]
FAST = ("--steps", "2", "--restarts", "1", "--eps", "1/10", "--budget", "1epochs", "--finetune", "standard")


def test_no_place_is_refused() -> None:
    assert trackers(()) == ()
    for spec in ("", "tensorboard:", "mlflow:", ":logs"):
        with pytest.raises(InputError, match="expected tensorboard:DIR or mlflow:URI"):
            trackers((spec,))


def test_steps_are_told_to_tensorboard_and_mlflow(
    harden: Harden, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    client_of = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    uri, events = f"file:{tmp_path / 'store'}", tmp_path / "events"
    words = ("--data", npz, "--out", tmp_path / "out", *FAST)
    answer = harden("run", *words, "--log", f"tensorboard:{events}", "--log", f"mlflow:{uri}")
    assert (answer.code, answer.err) == (0, "")
    reader: Any = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(events))
    found.Reload()
    points = [json.loads(line) for line in (tmp_path / "out" / "history.jsonl").read_text().splitlines()]
    robust = [(at.step, round(at.value, 5)) for at in found.Scalars("finetune/held-out robust")]
    assert robust == [(p["step"], round(p["robust"], 5)) for p in points if p["robust"] is not None]
    client = client_of(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("harden").experiment_id])
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "finetune/held-out robust")) == len(robust)


@pytest.mark.parametrize(
    ("spec", "seen", "instead"),
    [
        ("tensorbord:logs", "--log 'tensorbord:logs'", "did you mean tensorboard:logs?"),
        ("mlflow", "--log 'mlflow'", "did you mean mlflow:...?"),
        ("wandb:x", "--log 'wandb:x'", "write --log tensorboard:logs"),
    ],
)
def test_a_log_that_is_none_is_refused(
    harden: Harden, npz: str, tmp_path: Path, spec: str, seen: str, instead: str
) -> None:
    answer = harden("run", "--data", npz, "--out", tmp_path / "out", *FAST, "--log", spec)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert seen in answer.err
    assert answer.err.endswith(f"{instead}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_log_without_its_extra_is_refused_before_the_work(
    harden: Harden, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    answer = harden("run", "--data", npz, "--out", tmp_path / "out", *FAST, "--log", "tensorboard:logs")
    assert answer.code == 2
    assert answer.err.endswith('; install it: pip install "harden-vision[tensorboard]"\n')
    assert list(tmp_path.iterdir()) == []
