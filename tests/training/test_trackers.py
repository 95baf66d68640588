"""What the trackers write, read back with the trackers' own readers."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from harden.errors import InputError
from harden.training import StepRecord
from harden.training.trackers import MLflow, TensorBoard, numbers

STEPS = (
    StepRecord("pretrain", 1, 0.5, 1.0, 0.1, 2.0, 1e-3, 0.05),
    StepRecord("pretrain", 2, 1.0, 2.0, 0.2, 1.5, 1e-3, 0.1),
    StepRecord("finetune", 1, 0.5, 3.0, 0.3, 1.25, 2e-3, 0.1),
    StepRecord("finetune", 2, 1.0, 4.0, 0.4, 0.75, 1e-3, 0.1, clean=0.9, robust=0.5, best=True),
)


@pytest.fixture(autouse=True)
def local_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the only store that the client alone can open
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def test_a_step_is_told_under_its_stage_with_what_was_measured() -> None:
    assert set(numbers(STEPS[0])) == {
        f"pretrain/{name}" for name in ("loss", "learning rate", "eps", "E", "seconds")
    }
    told = numbers(STEPS[3])
    assert (told["finetune/held-out clean"], told["finetune/held-out robust"]) == (0.9, 0.5)


def test_tensorboards_event_file_holds_every_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    reader: Any = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    folder = tmp_path / "new" / "events"
    with TensorBoard(folder) as tracker:
        for record in STEPS:
            tracker(record)
    found = reader.EventAccumulator(str(folder))
    found.Reload()
    assert [(at.step, at.value) for at in found.Scalars("finetune/loss")] == [(1, 1.25), (2, 0.75)]
    assert [(at.step, at.value) for at in found.Scalars("pretrain/loss")] == [(1, 2.0), (2, 1.5)]
    assert [(at.step, at.value) for at in found.Scalars("finetune/held-out robust")] == [(2, 0.5)]


def test_tensorboard_is_on_disk_without_being_closed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tracker = TensorBoard(tmp_path)
    for record in STEPS:
        tracker(record)
    (path,) = tmp_path.iterdir()
    assert b"finetune/held-out robust" in path.read_bytes()
    tracker.__exit__(None, None, None)


def test_tensorboard_into_a_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a folder that can be written"):
        TensorBoard(tmp_path / "file")(STEPS[0])


def history(client: Any, run: str, name: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in client.get_metric_history(run, name)]


def test_mlflows_store_holds_the_steps_and_how_the_run_ended(tmp_path: Path) -> None:
    client_of = pytest.importorskip("mlflow").MlflowClient
    uri = f"file:{tmp_path / 'store'}"
    with MLflow(uri, every=1) as tracker:
        for record in STEPS:
            tracker(record)
    with pytest.raises(KeyboardInterrupt), MLflow(uri) as tracker:
        raise KeyboardInterrupt
    client = client_of(uri)
    number = client.get_experiment_by_name("harden").experiment_id
    runs = sorted(client.search_runs([number]), key=lambda run: str(run.info.status))
    assert [run.info.status for run in runs] == ["FAILED", "FINISHED"]
    run = runs[1].info.run_id
    assert history(client, run, "finetune/loss") == [(1, 1.25), (2, 0.75)]
    assert history(client, run, "finetune/held-out clean") == [(2, 0.9)]


def test_mlflow_logs_some_steps_and_every_validation_and_adds_to_a_run(tmp_path: Path) -> None:
    client_of = pytest.importorskip("mlflow").MlflowClient
    uri = f"file:{tmp_path}"
    client = client_of(uri)
    run = client.create_run(client.create_experiment("mine")).info.run_id
    tracker = MLflow(uri, "mine", run, every=10)
    for step in range(1, 26):
        robust = 0.5 if step == 7 else None
        tracker(StepRecord("finetune", step, step / 30, 0.0, 0.0, float(step), 0.0, 0.0, robust, robust))
    assert [step for step, _ in history(client, run, "finetune/loss")] == [1, 7, 11, 21]
    assert client.get_run(run).info.status == "RUNNING"


def test_a_store_that_fails_later_costs_a_warning_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = pytest.importorskip("mlflow")
    tracker = MLflow(f"file:{tmp_path}")
    tracker(STEPS[0])

    def away(*_: object, **__: object) -> None:
        raise ConnectionError("the server went away\nand more")

    monkeypatch.setattr(package.MlflowClient, "log_metric", away)
    tracker(STEPS[1])
    (record,) = [each for each in caplog.records if each.name == "harden"]
    assert record.message == "mlflow: step 2 is not logged (the server went away)"


def test_a_place_that_is_no_store_is_refused_in_one_line() -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(InputError, match="a tracking server or store that answers") as refused:
        MLflow("nonsense://x")(STEPS[0])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("make", "extra"), [(TensorBoard, "tensorboard"), (MLflow, "mlflow")])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, make: Any, extra: str) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(InputError) as refused:
        make("somewhere")
    assert refused.value.instead == f'install it: pip install "harden[{extra}]"'


def test_an_interval_of_no_steps_is_refused() -> None:
    with pytest.raises(InputError, match="every 0 steps"):
        MLflow("somewhere", every=0)
