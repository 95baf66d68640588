"""Records of TensorBoard and MLflow, read back with their own readers."""

from __future__ import annotations

import errno
import http.server
import importlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harden.errors import InputError
from harden.training import StepRecord
from harden.training.loggers import MLflow, TensorBoard, numbers

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


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.name == "harden"]


def later(step: int) -> StepRecord:
    return StepRecord("finetune", step, 0.5, 3.0, 0.3, 1.25, 2e-3, 0.1)


def test_a_store_that_fails_later_costs_a_warning_and_is_asked_again_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = pytest.importorskip("mlflow")
    tracker = MLflow(f"file:{tmp_path}", every=1)
    tracker(later(1))
    asked: list[int] = []

    def away(_: object, __: str, metrics: Any) -> None:
        asked.append(metrics[0].step)
        raise ConnectionError("the server went away\nand more")

    with monkeypatch.context() as gone:
        gone.setattr(package.MlflowClient, "log_batch", away)
        for step in range(2, 41):
            tracker(later(step))
    assert asked == [2, 5, 10, 19, 36]
    client, run = tracker._open
    for step in range(41, 71):
        tracker(later(step))
    assert [step for step, _ in history(client, run, "finetune/loss")] == [1, 69, 70]
    assert warned(caplog) == ["mlflow: step 2 and maybe later ones are not logged (the server went away)"]


class Server(http.server.BaseHTTPRequestHandler):
    """As much of a tracking server as a run takes, until it goes away: then it drops every connection."""

    gone = False
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        known = {"experiment_id": "1", "name": "harden", "lifecycle_stage": "active"}
        self._answer({"experiment": known})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        info = {"run_id": "a" * 32, "experiment_id": "1", "status": "RUNNING", "lifecycle_stage": "active"}
        self._answer({"run": {"info": info, "data": {}}})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class's name
        """Say nothing."""

    def _answer(self, told: object) -> None:
        self.asked.append(self.path.partition("?")[0].rpartition("/")[2])
        if self.gone:
            self.close_connection = True
            return
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Server, "gone", False)
    monkeypatch.setattr(Server, "asked", [])
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize("retries", ["", "0"], ids=["as it comes", "as the user says"])
def test_a_server_that_goes_away_is_not_waited_for(
    server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, retries: str
) -> None:
    """By MLflow's own settings each step would take eight requests, four minutes in all."""
    pytest.importorskip("mlflow")
    if retries:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", retries)
    before = dict(os.environ)
    tries = 1 if retries else 2
    with MLflow(server, every=1) as tracker:
        tracker(later(1))
        assert Server.asked == ["get-by-name", "create", "log-batch"]
        Server.asked.clear()
        monkeypatch.setattr(Server, "gone", True)
        for step in range(2, 10):
            tracker(later(step))
        assert Server.asked == ["log-batch"] * 2 * tries  # steps 2 and 5
        Server.asked.clear()
    assert len(Server.asked) == tries  # to close the run
    (said,) = warned(caplog)
    assert said.startswith("mlflow: step 2 and maybe later ones are not logged (")
    assert dict(os.environ) == before


def test_a_server_that_was_never_there_is_refused_at_once(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setattr(Server, "gone", True)
    with pytest.raises(InputError, match="a tracking server or store that answers"), MLflow(server):
        pass
    assert Server.asked == ["get-by-name"] * 2


@pytest.mark.parametrize("part", ["write", "flush"])
def test_a_full_disk_costs_tensorboards_steps_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    pytest.importorskip("tensorboard")
    writing: Any = importlib.import_module("tensorboard.summary.writer.record_writer")
    ended = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: ended.set())  # of tensorboard's own thread

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with TensorBoard(tmp_path) as tracker:
        tracker(STEPS[3])
        (path,) = tmp_path.iterdir()
        before = path.read_bytes()
        with monkeypatch.context() as disk:
            disk.setattr(writing.RecordWriter, part, full)
            for record in STEPS:
                tracker(record)
            assert part == "flush" or ended.wait(60)
        written = path.read_bytes()
        assert written.startswith(before)
        for record in STEPS:  # there is room again
            tracker(record)
    if part == "write":
        assert path.read_bytes() == before
    (said,) = warned(caplog)
    assert re.fullmatch(
        r"tensorboard: steps are not written from step \d on \(\[Errno 28\] No space left on device\)", said
    )


def test_a_disk_that_is_full_at_the_end_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorboard")
    writing: Any = importlib.import_module("tensorboard.summary.writer.record_writer")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    tracker = TensorBoard(tmp_path)
    tracker(STEPS[3])
    with monkeypatch.context() as disk:
        disk.setattr(writing.RecordWriter, "flush", full)
        tracker.__exit__(None, None, None)
    assert warned(caplog) == [
        "tensorboard: the last steps are not written ([Errno 28] No space left on device)"
    ]
    tracker.__exit__(None, None, None)


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
    assert refused.value.instead == f'install it: pip install "harden-vision[{extra}]"'


def test_an_interval_of_no_steps_is_refused() -> None:
    with pytest.raises(InputError, match="every 0 steps"):
        MLflow("somewhere", every=0)
