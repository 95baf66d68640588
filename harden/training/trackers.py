"""Where else a run's steps may be told: TensorBoard and MLflow, each an extra of the package."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from harden.errors import InputError
from harden.training.stage import StepRecord

_log = logging.getLogger("harden")


@final
@dataclass(frozen=True)  # without slots: the writer is made at the first step
class TensorBoard:
    """Writes every step as TensorBoard's scalars: give it to `harden` as `on_step`.

    Args:
        folder: of the event file; made where it is missing.

    Raises:
        InputError: the extra `tensorboard` is not installed, or the folder can't be written.
    """

    folder: str | Path

    def __post_init__(self) -> None:
        _package("tensorboard", "tensorboard")

    def __call__(self, record: StepRecord) -> None:
        """Write a step."""
        for name, value in numbers(record).items():
            self._writer.add_scalar(name, value, record.step)
        if record.robust is not None or record.progress >= 1.0:
            self._writer.flush()

    def __enter__(self) -> Self:
        _ = self._writer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

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
    """Logs steps as metrics of an MLflow run: give it to `harden` as `on_step`.

    A store that fails later on costs a warning, not the training. In a `with` the MLflow run ends with it, as
    finished or as failed; otherwise it stays running.

    Args:
        uri: of the tracking server or store, such as http://localhost:5000.
        experiment: made where it is missing.
        run: id of the MLflow run to add to; a new one by default.
        every: steps between two that are logged; those with a validation always are.

    Raises:
        InputError: the extra `mlflow` is not installed, or nothing answers at the URI.
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
        try:
            for name, value in numbers(record).items():
                client.log_metric(run, name, value, step=record.step)
        except Exception as error:
            _log.warning("mlflow: step %d is not logged (%s)", record.step, _first_line(error))

    def __enter__(self) -> Self:
        _ = self._open
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, run = self._open
        try:
            client.set_terminated(run, "FINISHED" if kind is None else "FAILED")
        except Exception as failure:
            _log.warning("mlflow: the run is not closed (%s)", _first_line(failure))

    @cached_property
    def _open(self) -> tuple[Any, str]:
        """The client and the run's id."""
        package = _package("mlflow", "mlflow")
        try:
            client = package.MlflowClient(self.uri)
            if self.run:
                return client, client.get_run(self.run).info.run_id
            known = client.get_experiment_by_name(self.experiment)
            number = known.experiment_id if known else client.create_experiment(self.experiment)
            return client, client.create_run(number).info.run_id
        except Exception as error:  # mlflow's own, the network's, a database's: all say that nothing is there
            raise InputError(
                f"mlflow at {self.uri!r} ({_first_line(error)})",
                "a tracking server or store that answers",
                "start one: mlflow server, and name its http://HOST:PORT",
            ) from None


def numbers(record: StepRecord) -> dict[str, float]:
    """What is told of a step, by name; the stage's name stands before."""
    told = {
        "loss": record.loss,
        "learning rate": record.learning_rate,
        "eps": record.eps,
        "E": record.passes,
        "seconds": record.seconds,
        "held-out clean": record.clean,
        "held-out robust": record.robust,
    }
    return {f"{record.stage}/{name}": value for name, value in told.items() if value is not None}


def _package(name: str, extra: str) -> Any:
    """A package that is installed on demand."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"no {extra} here ({_first_line(error)})",
            f"harden with its extra {extra!r}",
            f'install it: pip install "harden[{extra}]"',
        ) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
