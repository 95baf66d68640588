"""Loggers by the specs of --log, such as tensorboard:DIR."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from harden.errors import InputError
from harden.training.loggers import MLflow, TensorBoard

Tracker = TensorBoard | MLflow
_FORMS = "tensorboard:DIR or mlflow:URI"


def trackers(specs: Sequence[str]) -> tuple[Tracker, ...]:
    """A tracker for each --log; nothing is opened yet.

    Raises:
        InputError: it is none of the forms, or its extra is not installed.
    """
    return tuple(_tracker(spec) for spec in specs)


def _tracker(spec: str) -> Tracker:
    kind, _, place = spec.partition(":")
    if kind == "tensorboard" and place:
        return TensorBoard(place)
    if kind == "mlflow" and place:
        return MLflow(place)
    close = difflib.get_close_matches(kind, ("tensorboard", "mlflow"), n=1)
    instead = f"did you mean {close[0]}:{place or '...'}?" if close else "write --log tensorboard:logs"
    raise InputError(f"--log {spec!r}", _FORMS, instead)
