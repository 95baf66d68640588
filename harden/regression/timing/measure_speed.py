"""Paired timing of two ONNX files in one job: inference, and the gradients of an attack."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

from harden.data import Splits, from_loader
from harden.data.splits.evaluation_sample import evaluated_images
from harden.deployed.evidence_level import FileAccess
from harden.deployed.onnx_classifier import OnnxClassifier, file_of
from harden.errors import InputError
from harden.evaluation import Phase
from harden.regression.timing.attack_workload import attack_work
from harden.regression.timing.paired_timing import (
    Clock,
    SpeedFinding,
    Work,
    alternated,
    check_rounds,
    repeats_for,
)

IMAGES = 32
"""Test images that a piece of work is done on; all of them where there are fewer."""

_LEAST = 0.04  # seconds of a run of each: far above what a clock adds
_STORED = (".json", ".jsonl", ".csv", ".toml", ".yaml", ".yml", ".txt")
_MARGIN = "write --bench-margin 10%"


@final
@dataclass(frozen=True, slots=True)
class SpeedCheck:
    """The settings of a comparison of speed.

    Attributes:
        base: the file to compare with, or a folder with a model.onnx: both are timed in the same job.
        rounds: the number of timings of each.
        margin: the relative slowdown that fails, 0.1 for ten per cent.
        alpha: one less the level of the intervals.
        images: the number of test images that each piece of work is done on.

    Raises:
        InputError: a number is outside its range.
    """

    base: str
    rounds: int = 15
    margin: float = 0.1
    alpha: float = 0.05
    images: int = IMAGES

    def __post_init__(self) -> None:
        if not 0.0 < self.margin <= 10.0:
            raise InputError(f"a speed margin of {self.margin:g}", "a slowdown above 0, up to 10", _MARGIN)
        if self.images < 1:
            raise InputError(f"--bench-images {self.images}", "at least one", "write --bench-images 32")
        check_rounds(self.rounds, self.alpha)

    @property
    def path(self) -> Path:
        """The base's file.

        Raises:
            InputError: there is none, or it is one of stored times.
        """
        _refuse_timings(Path(self.base))
        return file_of(self.base)


def time_files(
    candidate: OnnxClassifier,
    splits: Splits,
    check: SpeedCheck,
    clock: Clock = time.perf_counter,
    *,
    access: FileAccess | None = None,
    on_phase: Callable[[Phase], None] | None = None,
) -> tuple[SpeedFinding, ...]:
    """Time inference and attack of two files on the same images, in alternation.

    Args:
        candidate: the file.
        splits: whose test images it is timed on.
        check: the file to compare with, and the settings.
        clock: seconds.
        access: of both files: whether their graphs are read.
        on_phase: called with the `Phase` after every round.

    Raises:
        InputError: a file does not fit the data.
    """
    base = OnnxClassifier.of(check.path, splits, candidate.mean, candidate.std)
    pairs = zip(*(workloads(each, splits, check.images, access) for each in (base, candidate)), strict=True)
    images, found = min(check.images, len(splits.test)), []
    for (measure, before), (_, now) in pairs:
        repeats = repeats_for((before, now), clock, _LEAST)

        def report(done: int, name: str = f"time {measure}") -> None:
            if on_phase is not None:
                on_phase(Phase(name, done, check.rounds))

        timings = alternated(before, now, check.rounds, clock, repeats, report)
        found.append(SpeedFinding(measure, images, timings, check.margin, check.alpha))
    return tuple(found)


def workloads(
    file: OnnxClassifier, splits: Splits, images: int, access: FileAccess | None = None
) -> tuple[tuple[str, Work], ...]:
    """The work that is timed: inference by onnxruntime on one thread, and the gradients of an attack.

    Inference alone where the graph is left unread.

    Raises:
        InputError: the file's graph can't be read.
    """
    few = evaluated_images(splits, images)
    (batch,) = few.batches(len(few))
    x = file.inputs(batch.x).contiguous().numpy()
    inference = ("inference", partial(file.session, x))
    if access is not None and access.black_box:
        return (inference,)
    _, model = file.reading(from_loader(few, len(few)))
    return inference, ("attack", attack_work(model, batch.x, batch.y))


def _refuse_timings(path: Path) -> None:
    """Refuse stored times: they are of another moment, and mostly of another machine."""
    if path.suffix.lower() not in _STORED:
        return
    raise InputError(
        f"--bench {path}, where stored times would be",
        "the base model's ONNX file, which is timed in this job: times of another machine or moment say "
        "nothing about this one",
        "write --bench BASE.onnx",
    )
