"""Record of the step at which an attack first succeeded on each example."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import final

import torch
from torch import Tensor


@final
class SuccessSteps:
    """At which step, or query, of an attack the network was first seen to err on each of N examples.

    Steps count on over restarts and targets, from 1.

    Attributes:
        first: the step, int64 (N,); 0 where no error was seen.
        total: steps so far of the example that took most.
    """

    __slots__ = ("first", "total")

    def __init__(self, n: int, device: torch.device | str = "cpu") -> None:
        self.first = torch.zeros(n, dtype=torch.int64, device=device)
        self.total = 0

    def note(self, rows: Tensor, step: int) -> None:
        """Note errors on the examples at `rows`, int64 (M,), in a step; what was noted earlier stays."""
        self.first[rows[self.first[rows] == 0]] = step

    def merge(self, rows: Tensor, other: SuccessSteps) -> None:
        """Add what an attack on the examples at `rows` noted, as following on what is here already."""
        new = (other.first > 0) & (self.first[rows] == 0)
        self.first[rows[new]] = self.total + other.first[new]
        self.total += other.total


_current: ContextVar[SuccessSteps | None] = ContextVar("step_record", default=None)


@contextmanager
def recording(record: SuccessSteps | None) -> Iterator[None]:
    """Let the attack that runs inside the context note its steps; None lets it note nothing."""
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)


def current_record(n: int) -> SuccessSteps | None:
    """The active record for an attack on n examples, if there is one."""
    record = _current.get()
    return record if record is not None and len(record.first) == n else None
