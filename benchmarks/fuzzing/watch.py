"""Workers that run cases, each watched: who hangs is ended, who crashes is replaced, and both are said."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

HANG_SECONDS = 5.0
"""Seconds of computing, not of wall-clock time, which depends on the load of the machine."""
_STILL_SECONDS = 60.0
MEMORY = 2 * 2**30
_START_SECONDS = 300.0


class Seen(NamedTuple):
    """The outcome of one case; `defect` is empty where there is none."""

    number: int
    format: str
    mutation: str
    outcome: str
    milliseconds: float
    peak_mb: int
    defect: str = ""


def work(pipe: Connection, seeds: str, place: str, seed: int, formats: tuple[str, ...]) -> None:
    """Runs the cases that come through the pipe and answers each with a `Seen`."""
    import torch

    from benchmarks.fuzzing.cases import FORMATS, Cases

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of two members of one name, say, which the mutations write
    cases = Cases(Path(seeds), Path(place), seed, formats or FORMATS)
    cases.run(499)  # what is imported late counts for no case
    _limit_memory()
    pipe.send(None)
    while True:
        number = pipe.recv()
        if number is None:
            return
        pipe.send(judged(cases, number))


def judged(cases: Any, number: int) -> Seen:
    """Runs one case; whatever it raises is a defect."""
    start, format_, mutation, outcome, defect = time.perf_counter(), "", "", "defect", ""
    try:
        format_, mutation, outcome = cases.run(number)
    except (Exception, SystemExit) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        defect = f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
    milliseconds = 1000 * (time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Seen(number, format_, mutation, outcome, milliseconds, peak, defect)


def _limit_memory() -> None:
    """From here on, what would need 2 GB more than an idle worker has raises MemoryError instead."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


class Worker:
    """A process that runs cases; replaced when one hangs or ends it."""

    def __init__(self, seeds: Path, seed: int, keep: Path, formats: tuple[str, ...] = ()) -> None:
        self._arguments, self._keep = (seeds, seed, formats), keep
        self._todo: list[int] = []
        self._again = -1
        self._start()

    def _start(self) -> None:
        seeds, seed, formats = self._arguments
        self.place = Path(tempfile.mkdtemp(prefix="harden-fuzz-"))
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        arguments = (other, str(seeds), str(self.place), seed, formats)
        self.process = context.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        other.close()
        self._ready, self._since, self._cpu = False, time.monotonic(), 0.0

    @property
    def idle(self) -> bool:
        """Whether it has nothing left to do."""
        return not self._todo

    def give(self, numbers: list[int]) -> None:
        """Hand over cases, to be run one after another."""
        self._todo = list(numbers)
        if self._ready:
            self._next()

    def hear(self) -> Iterator[Seen]:
        """What the worker says now: nothing, or one case."""
        try:
            answer = self.pipe.recv() if self.pipe.poll() else ()
        except (EOFError, ConnectionResetError):
            yield from self._lost("crash")
            return
        if answer is None:
            self._ready = True
            self._next()
        elif answer:
            self._todo.pop(0)
            if answer.defect:
                self._save(answer.number)
            self._next()
            yield answer
        elif self._hangs():
            yield from self._lost("hang")

    def _hangs(self) -> bool:
        waited = time.monotonic() - self._since
        if not self._ready:
            return waited > _START_SECONDS
        return waited > _STILL_SECONDS or self._cpu_seconds() - self._cpu > HANG_SECONDS

    def _cpu_seconds(self) -> float:
        """What the process has computed so far."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _next(self) -> None:
        self._since, self._cpu = time.monotonic(), self._cpu_seconds()
        if self._todo:
            self.pipe.send(self._todo[0])

    def _lost(self, how: str) -> Iterator[Seen]:
        """Replace the process. A hang counts when it comes twice: a busy machine alone can make one."""
        started = self._ready
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        if not started:
            raise RuntimeError(f"a worker did not start (exit code {code})")
        number = self._todo[0]
        if how == "hang" and self._again != number:
            self._again = number
        else:
            self._todo.pop(0)
            self._save(number)
            text = f"hang above {HANG_SECONDS:g} s" if how == "hang" else f"the process ended with {code}"
            yield Seen(number, "", "", "defect", 1000 * HANG_SECONDS, 0, text)
        shutil.rmtree(self.place, ignore_errors=True)
        self._start()

    def _save(self, number: int) -> None:
        shutil.copytree(self.place, self._keep / f"case-{number}", dirs_exist_ok=True)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        shutil.rmtree(self.place, ignore_errors=True)


def watched(workers: list[Worker]) -> Iterator[Seen]:
    """Iterate over the outcomes of the workers in the order of their completion."""
    while any(not worker.idle for worker in workers):
        wait([worker.pipe for worker in workers if not worker.idle], timeout=0.25)
        for worker in workers:
            if not worker.idle:
                yield from worker.hear()
