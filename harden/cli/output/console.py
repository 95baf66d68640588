"""Output for people: progress bars on a terminal, plain lines elsewhere, tables at the end.

The only module that uses rich. Only text is printed, never markup: names of others are in it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from harden.errors import InputError
from harden.printable_text import log_line
from harden.regression.reports.github_actions import annotation
from harden.standard_streams import encodable
from harden.system.atomic_files import write_named, write_text
from harden.system.safe_folders import make_folder

if TYPE_CHECKING:  # report and doctor print where there is no torch
    import torch

    from harden.certificate.schema import StageRecord
    from harden.evaluation import Phase
    from harden.training import StepRecord

_EVERY = 10.0  # seconds between plain lines
_COLONS: Final = re.compile(r":(?=:\w)")

_console = Console(highlight=False)


def say(line: str = "") -> None:
    """Print one line; what does not print in it, a line break too, is escaped."""
    _console.print(_text(line), soft_wrap=True)


def say_lines(text: str) -> None:
    """Print lines that were made apart from each other."""
    for line in text.split("\n"):
        say(line)


def say_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right_from: int | None = None
) -> None:
    """Print a table.

    Args:
        head: names of the columns; all empty for none.
        rows: cells as text, as many in each as there are names.
        title: above it.
        right_from: the first of the columns that are aligned to the right.
    """
    table = Table(
        title=_cell(title, "table.title") if title else None,
        title_justify="left",
        box=None,
        pad_edge=False,
        show_header=any(head),
    )
    for at, name in enumerate(head):
        right = right_from is not None and at >= right_from
        table.add_column(_cell(name), justify="right" if right else "left")
    for row in rows:
        table.add_row(*map(_cell, row))
    _console.print(table)


def annotate(title: str, message: str) -> None:
    """Print the line that makes GitHub show an error for a job: no other line begins with `::`."""
    line = encodable(annotation(title, message), _console.encoding)
    _console.print(Text(line), soft_wrap=True)


def _text(line: str) -> Text:
    return Text(encodable(log_line(line), _console.encoding))


def _cell(text: str, style: str = "") -> Text:
    """A cell may be wrapped anywhere, so that anything in it may begin a line."""
    return Text(_COLONS.sub(r"\\x3a", _text(text).plain), style)


@final
class ProgressDisplay:
    """Follows a run: give `step` to `harden.harden` and `phase` to `export`.

    Args:
        images: the number of training images, for the passes per second.
    """

    def __init__(self, images: int = 0) -> None:
        self._images = images
        # What a narrow terminal cuts off is the note.
        note = Column(no_wrap=True, ratio=1, overflow="ellipsis")
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, min_width=10)),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:>3.0f} %", table_column=Column(no_wrap=True, min_width=5)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[note]}", markup=False, table_column=note),
            console=_console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, float]] = {}
        self._note = ""
        self._spoke = 0.0

    def __enter__(self) -> Self:
        if _console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _console.is_terminal:
            self._progress.stop()

    def step(self, record: StepRecord) -> None:
        """Follow a step of training."""
        if record.robust is not None and record.clean is not None:
            best = " (best so far)" if record.best else ""
            self._note = f"held-out robust {record.robust:.3f} clean {record.clean:.3f}{best}"
        elif record.step == 1:
            self._note = ""
        costs = f"{record.passes:.1f} E  {self._rate(record)}  loss {record.loss:.3f}"
        note = f"{self._note}  {costs}" if _console.is_terminal and self._note else f"{costs}  {self._note}"
        self._show(record.stage, record.progress, note, urgent=record.robust is not None)

    def phase(self, phase: Phase) -> None:
        """Follow a phase of export."""
        note = ""
        if phase.robust is not None:
            rate = f"  {phase.passes / phase.seconds:,.0f} passes/s" if phase.seconds > 0 else ""
            note = f"robust so far at most {phase.robust:.3f}{rate}"
        self._show(phase.name, phase.done / max(phase.total, 1), note, urgent=phase.done >= phase.total)

    def _rate(self, record: StepRecord) -> str:
        rate = record.passes / record.seconds if record.seconds > 0 else 0.0
        return f"{rate * self._images:,.0f} passes/s" if self._images else f"{rate:.1f} E/s"

    def _left(self, name: str, share: float, now: float) -> str:
        """The time left at the rate so far, for plain lines."""
        began, at = self._began.setdefault(name, (now, share))
        if share <= at or share >= 1.0:
            return ""
        return f"{timedelta(seconds=round((now - began) * (1 - share) / (share - at)))} left"

    def _show(self, name: str, share: float, note: str, *, urgent: bool) -> None:
        if _console.is_terminal:
            name, note = _text(name).plain, _text(note).plain
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=1.0, note="")
            self._progress.update(self._tasks[name], completed=share, note=note)
            return
        now = time.monotonic()
        left = self._left(name, share, now)
        if urgent or now - self._spoke >= _EVERY:
            self._spoke = now
            say(f"{name:18} {share:4.0%}  {left:>13}  {note}".rstrip())


def print_warning(line: str) -> None:
    """Print a warning in bold red: a result that could be mistaken for a good one."""
    _console.print(Text(_text(f"warning: {line}").plain, "bold red"), soft_wrap=True)


def print_kernels(device: torch.device) -> None:
    """Say which kernels run on a device: a fall-back to plain torch is never silent."""
    from harden import kernels

    backend = kernels.backend(device.type)
    state = "FAILED to load, plain torch" if backend.failed else backend.name
    say(f"kernels   {state} ({backend.reason})")


def print_costs(stages: Sequence[StageRecord]) -> None:
    """Print what each stage of training cost."""
    head = ("stage", "E (passes per image)", "passes", "seconds")
    rows = [
        (stage.name, f"{stage.epochs_equivalent:.1f}", f"{stage.passes:,.0f}", f"{stage.seconds:.1f}")
        for stage in stages
    ]
    say_table(head, rows, title="Cost", right_from=1)


def write_json(path: Path | None, value: Any) -> None:
    """Write a result to the file that --json names, if any.

    Raises:
        InputError: the file can't be written.
    """
    if path is not None:
        write_file(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_file(path: Path, content: str, *, named: bool = True) -> None:
    """Write a file, with the folders above it.

    Args:
        path: the file.
        content: of it.
        named: whether the user wrote the path, which may then be a device; else harden did, in a folder.

    Raises:
        InputError: it can't be written.
    """
    try:
        make_folder(path.parent)
        if named:
            write_named(path, content)
        else:
            write_text(path, content)
    except OSError as error:
        seen = f"{path} can't be written ({error.strerror})"
        raise InputError(seen, "a file in a folder that can be written", "name another file") from None
