"""Two pytest-benchmark files of one machine and job: slower, missing and incomparable are three answers.

    pytest benchmarks --benchmark-enable --benchmark-only --benchmark-json base.json   # before the change
    pytest benchmarks --benchmark-enable --benchmark-only --benchmark-json now.json    # after it
    python -m benchmarks.compare base.json now.json --factor 1.5

Exit 0: each benchmark of one file is in the other, and none takes more than the factor. 1: one is slower, or
missing in either file: what is no longer measured has not become faster. 2: the files can't be compared, for
they are of other machines or jobs, of other numbers of threads, empty or damaged.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import final

GOOD, WORSE, UNFIT = 0, 1, 2
STATISTIC = "min"
"""What others take of the machine only ever adds time: the fastest round is what a benchmark costs."""

_LARGEST = 1 << 28  # bytes
# What makes times those of one machine and one interpreter. The frequency of the moment does not.
_MACHINE = ("node", "machine", "system", "release", "processor", "python_implementation", "python_version")
_CPU = ("brand_raw", "arch_string_raw", "count")
_APART = timedelta(hours=6)
"""No job takes longer: files further apart are of two, whose machines may bear one name."""


@final
class UnfitError(Exception):
    """Two files can't be compared; the message says why, on one line."""


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """A pytest-benchmark file.

    Attributes:
        machine: what identifies the machine and the interpreter.
        seconds: the fastest round of each benchmark, by its full name.
        threads: how many each says that it ran on, where it does.
        moment: when the file was written.
    """

    machine: Mapping[str, str]
    seconds: Mapping[str, float]
    threads: Mapping[str, int | None]
    moment: datetime


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One benchmark in both files; None where it is missing.

    Attributes:
        name: its full name.
        base: seconds before.
        now: seconds after.
    """

    name: str
    base: float | None
    now: float | None

    @property
    def ratio(self) -> float:
        """Now over base; infinite where one of them is missing, which is no pass."""
        return math.inf if self.base is None or self.now is None else self.now / self.base

    def said(self, factor: float) -> str:
        """The row as a line."""
        if self.base is None or self.now is None:
            return f"MISSING  {self.name}: not in the {'base' if self.base is None else 'candidate'}"
        state = "SLOWER " if self.ratio > factor else "ok     "
        return f"{state}  {self.name}: {self.base:.3g} s -> {self.now:.3g} s, x{self.ratio:.2f}"


def read(path: Path) -> Measured:
    """Read a file.

    Raises:
        UnfitError: it can't be read, is damaged, or holds no benchmark.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UnfitError(f"{path} is too large for a file of benchmarks")
        fields = json.loads(path.read_text("utf-8"))
        machine, entries = fields["machine_info"], fields["benchmarks"]
        names = [str(entry["fullname"]) for entry in entries]
        seconds = [float(entry["stats"][STATISTIC]) for entry in entries]
        threads = [entry["extra_info"].get("threads") for entry in entries]
        moment = datetime.fromisoformat(fields["datetime"])
        if moment.tzinfo is None:
            raise ValueError("a moment without a time zone")
        identity = {name: str(machine[name]) for name in _MACHINE}
        identity |= {f"cpu {name}": str(machine["cpu"].get(name)) for name in _CPU}
    except OSError as error:
        raise UnfitError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UnfitError(f"{path} is no file of --benchmark-json ({reason})") from None
    if not names or len(set(names)) < len(names):
        raise UnfitError(f"{path} has {'no benchmark' if not names else 'a benchmark twice'}")
    if not all(0.0 < each < math.inf for each in seconds):
        raise UnfitError(f"{path} has a time that is not positive")
    by_name = dict(zip(names, seconds, strict=True)), dict(zip(names, threads, strict=True))
    return Measured(identity, *by_name, moment)


def compared(base: Measured, now: Measured) -> tuple[Row, ...]:
    """Put the benchmarks of both files side by side, those of either one too.

    Raises:
        UnfitError: they are of other machines or jobs, or a benchmark was run on other numbers of threads.
    """
    differing = [name for name, value in base.machine.items() if now.machine[name] != value]
    if differing:
        name = differing[0]
        raise UnfitError(
            f"other machines: {name} {base.machine[name]!r} and {now.machine[name]!r}; times are compared "
            "within one machine alone"
        )
    if abs(now.moment - base.moment) > _APART:
        raise UnfitError(f"other jobs: of {base.moment:%Y-%m-%d %H:%M} and {now.moment:%Y-%m-%d %H:%M}")
    for name in sorted(base.seconds.keys() & now.seconds.keys()):
        if base.threads[name] != now.threads[name]:
            raise UnfitError(f"{name}: on {base.threads[name]} and on {now.threads[name]} threads")
    return tuple(
        Row(name, base.seconds.get(name), now.seconds.get(name))
        for name in sorted(base.seconds.keys() | now.seconds.keys())
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Compare two files, print every benchmark, return 0, 1 or 2."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.split("\n")[0])
    parser.add_argument("base", type=Path, help="the file from before the change")
    parser.add_argument("now", type=Path, help="the one from after it, of the same machine and job")
    parser.add_argument(
        "--factor", type=float, default=1.5, help="more than so many times the base is slower"
    )
    words = parser.parse_args(argv)
    if not 1.0 <= words.factor < math.inf:
        parser.error(f"--factor {words.factor}: expected a number from 1 on")
    try:
        rows = compared(read(words.base), read(words.now))
    except UnfitError as error:
        print(f"not compared: {error}", file=sys.stderr)
        return UNFIT
    for row in rows:
        print(row.said(words.factor))
    bad = sum(row.ratio > words.factor for row in rows)
    print(f"{bad} of {len(rows)} slower than x{words.factor:g} or missing")
    return WORSE if bad else GOOD


if __name__ == "__main__":
    sys.exit(main())
