"""Loggers of training steps to TensorBoard and MLflow, each an extra of the package."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from harden.errors import InputError
from harden.system.package_metadata import NAME
from harden.training.stage import StepRecord

_log = logging.getLogger("harden")
# MLflow's client tries eight times by default, four minutes for each call on a server that is down.
_SHORT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@final
@dataclass(frozen=True)  # without slots: the writer is made at the first step
class TensorBoard:
    """Logger of every step as TensorBoard's scalars, for `on_step` of `harden`.

    A later error of the disk, for instance a full one, is logged as a warning and ends the logging, not the
    training.

    Args:
        folder: folder of the event file; created where it is missing.

    Raises:
        InputError: the extra `tensorboard` is not installed, or the folder can't be written.
    """

    folder: str | Path

    def __post_init__(self) -> None:
        _package("tensorboard", "tensorboard")

    def __call__(self, record: StepRecord) -> None:
        """Write a step, unless a previous one failed."""
        writer = self._writer
        if self._failures.count:
            return
        try:
            for name, value in numbers(record).items():
                writer.add_scalar(name, value, record.step)
            if record.robust is not None or record.progress >= 1.0:
                writer.flush()
        except OSError as error:
            self._failures.add(f"tensorboard: steps are not written from step {record.step} on", error)

    def __enter__(self) -> Self:
        _ = self._writer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
        except OSError as failure:
            self._failures.add("tensorboard: the last steps are not written", failure)

    @cached_property
    def _failures(self) -> _Failures:
        return _Failures()

    @cached_property
    def _writer(self) -> Any:
        try:
            return _package("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(self.folder))
        except OSError as error:
            seen = f"{self.folder}: {error.strerror}"
            raise InputError(seen, "a folder that can be written", "name another one") from None


@final
@dataclass(frozen=True)
class MLflow:
    """Logger of steps as metrics of an MLflow run, for `on_step` of `harden`.

    A later error of the store is logged as a warning and loses some steps, without ending the training: of n
    turns to log, at most log2(n) are spent on it, and steps are logged again after a successful turn. A call
    is tried twice, for ten seconds each, unless MLFLOW_HTTP_REQUEST_MAX_RETRIES and
    MLFLOW_HTTP_REQUEST_TIMEOUT are set. In a `with` the MLflow run ends with it, as finished or as failed;
    otherwise it stays running.

    Args:
        uri: address of the tracking server or store, such as http://localhost:5000.
        experiment: name of the experiment; created where it is missing.
        run: id of the MLflow run to add to; a new one by default.
        every: steps between two that are logged; steps with a validation are always logged.

    Raises:
        InputError: the extra `mlflow` is not installed, or no server answers at the URI.
    """

    uri: str
    experiment: str = "harden"
    run: str = ""
    every: int = 10

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"every {self.every} steps", "1 or more", "write every=10")
        _package("mlflow", "mlflow")

    def __call__(self, record: StepRecord) -> None:
        """Log a step, if it is its turn."""
        if record.robust is None and record.progress < 1.0 and record.step % self.every != 1 % self.every:
            return
        client, run = self._open
        if self._failures.skips_turn():
            return
        try:
            with _short_calls():
                client.log_batch(run, self._metrics(record))
        except Exception as error:  # whatever the server or its client raises: tracking never ends a run
            self._failures.add(f"mlflow: step {record.step} and maybe later ones are not logged", error)

    def __enter__(self) -> Self:
        _ = self._open
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, run = self._open
        try:
            with _short_calls():
                client.set_terminated(run, "FINISHED" if kind is None else "FAILED")
        except Exception as failure:  # as for a step
            self._failures.add("mlflow: the run is not closed", failure)

    def _metrics(self, record: StepRecord) -> list[Any]:
        """Return a step as MLflow's metrics, for one call."""
        metric, now = _package("mlflow.entities", "mlflow").Metric, int(time.time() * 1000)
        return [metric(name, value, now, record.step) for name, value in numbers(record).items()]

    @cached_property
    def _failures(self) -> _Failures:
        return _Failures()

    @cached_property
    def _open(self) -> tuple[Any, str]:
        """The client and the run's id."""
        package = _package("mlflow", "mlflow")
        try:
            with _short_calls():
                client = package.MlflowClient(self.uri)
                if self.run:
                    return client, client.get_run(self.run).info.run_id
                known = client.get_experiment_by_name(self.experiment)
                number = known.experiment_id if known else client.create_experiment(self.experiment)
                return client, client.create_run(number).info.run_id
        except Exception as error:  # of mlflow, the network or a database: no store is available
            raise InputError(
                f"mlflow at {self.uri!r} ({_first_line(error)})",
                "a tracking server or store that answers",
                "start one: mlflow server, and name its http://HOST:PORT",
            ) from None


def numbers(record: StepRecord) -> dict[str, float]:
    """Return the logged values of a step by name, with the stage's name in front."""
    values = {
        "loss": record.loss,
        "learning rate": record.learning_rate,
        "eps": record.eps,
        "E": record.passes,
        "seconds": record.seconds,
        "held-out clean": record.clean,
        "held-out robust": record.robust,
    }
    return {f"{record.stage}/{name}": value for name, value in values.items() if value is not None}


@final
class _Failures:
    """Failed attempts to log: the first is a warning, and each doubles the turns before the next attempt."""

    def __init__(self) -> None:
        self.count = 0
        self._turns_left = 0

    def add(self, what: str, error: Exception) -> None:
        """Add a failure: the first is logged as a warning, later ones as information."""
        _log.log(logging.INFO if self.count else logging.WARNING, "%s (%s)", what, _first_line(error))
        self.count += 1
        self._turns_left = 2**self.count

    def skips_turn(self) -> bool:
        """Return whether this turn is skipped, and count it."""
        if not self._turns_left:
            return False
        self._turns_left -= 1
        return True


@contextmanager
def _short_calls() -> Iterator[None]:
    """Set the client's retries and timeout, which it reads from the environment, where the user has not."""
    missing = {name: value for name, value in _SHORT.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


def _package(name: str, extra: str) -> Any:
    """Import a package of an extra."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"no {extra} here ({_first_line(error)})",
            f"harden with its extra {extra!r}",
            f'install it: pip install "{NAME}[{extra}]"',
        ) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
