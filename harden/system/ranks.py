"""The processes of a run, and their exchange of sums and values."""

from __future__ import annotations

import atexit
import gc
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar, cast, final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from harden.errors import InputError, LostProcessError
from harden.system.first_report import report_once
from harden.system.single_process import launched

TIMEOUT: Final = timedelta(minutes=10)
"""Time after which a process gives up the others where no connection breaks."""

_REPORTS: Final = "harden/reports"
_GRACE: Final = 3.0
"""Seconds that process 0 gives the others to count themselves."""

_END: Final = 0.2
"""Seconds for the threads of closed connections to end."""

T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True)
class Ranks:
    """The number of this process among those of a run; with one process every method is trivial.

    All processes call the methods in the same order, with tensors of the same shapes. Every result is the
    same in all of them, so that decisions which depend on it are the same, too.

    Args:
        rank: number of this process, from 0.
        size: number of processes.

    Raises:
        LostProcessError: from every method, where another process has ended or does not answer.
    """

    rank: int = 0
    size: int = 1

    @property
    def several(self) -> bool:
        """Whether there are other processes."""
        return self.size > 1

    @property
    def is_main(self) -> bool:
        """Whether this is the first process, the one that writes."""
        return self.rank == 0

    def part(self, n: int) -> tuple[int, int]:
        """Positions start..stop - 1 of this process among n items; the parts' sizes differ by one at most."""
        return n * self.rank // self.size, n * (self.rank + 1) // self.size

    def add_(self, tensor: Tensor) -> Tensor:
        """Replace a contiguous tensor by its sum over the processes, and return it."""
        if self.several:
            with _answered(self.size):
                dist.all_reduce(tensor)
        return tensor

    def total(self, value: float) -> float:
        """The sum of a number over the processes, in float64."""
        return float(self.add_(torch.tensor(value, dtype=torch.float64))) if self.several else value

    def add_gradients(
        self, gradients: Sequence[Tensor | None], weights: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """The sums of gradients over the processes; None where no process has one.

        Args:
            gradients: one for each weight, or None for 0.
            weights: of the same shapes, types and devices.
        """
        found = list(gradients)
        if not self.several:
            return found
        groups: dict[tuple[torch.dtype, torch.device], list[int]] = defaultdict(list)
        for number, weight in enumerate(weights):
            groups[weight.dtype, weight.device].append(number)
        for (dtype, device), numbers in groups.items():
            own = [gradients[number] for number in numbers]
            # In one buffer with the counts of the processes that have each: one exchange.
            present = torch.tensor([each is not None for each in own], dtype=dtype, device=device)
            flat = [
                (torch.zeros_like(weights[number]) if each is None else each).reshape(-1)
                for number, each in zip(numbers, own, strict=True)
            ]
            summed = self.add_(torch.cat([present, *flat]))
            counts, *parts = torch.split(summed, [len(numbers), *(each.numel() for each in flat)])
            for number, part, count in zip(numbers, parts, counts.tolist(), strict=True):
                found[number] = part.view_as(weights[number]) if count else None
        return found

    def of_main(self, value: float) -> float:
        """The number that the first process has, in float64."""
        return self.total(value if self.is_main else 0.0)

    def every(self, value: T) -> list[T]:
        """The values of all processes in their order, for values that pickle takes."""
        if not self.several:
            return [value]
        found: list[Any] = [None] * self.size
        with _answered(self.size):
            dist.all_gather_object(found, value)
        return found

    def on_main(self, work: Callable[[], T]) -> T:
        """The result of a function that the first process alone calls; what it raises is raised in all."""
        if not self.several:
            return work()
        sent: list[Any] = [None, None]
        if self.is_main:
            try:
                sent[0] = work()
            except Exception as error:  # of whatever kind: the others need it to continue
                sent[1] = error
        with _answered(self.size):
            dist.broadcast_object_list(sent, src=0)
        if sent[1] is not None:
            raise sent[1]
        return cast(T, sent[0])


ALONE: Final = Ranks()


def joined() -> Ranks:
    """The processes that torchrun, accelerate launch or the caller's process group have started.

    The first call under a launcher returns once all processes have made it.

    Raises:
        InputError: the environment names processes that can't meet, or another precision than harden's own.
        LostProcessError: a process did not come.
    """
    if not _in_group():
        if not launched():
            return ALONE
        _meet()
    if dist.get_world_size() == 1:
        return ALONE
    _check_precision()
    return Ranks(dist.get_rank(), dist.get_world_size())


def check_divides(batch_size: int, ranks: Ranks) -> None:
    """Refuse batches that the processes can't divide evenly.

    Raises:
        InputError: the number of processes does not divide the batch size, or leaves one image for each.
    """
    if batch_size % ranks.size or (ranks.several and batch_size < 2 * ranks.size):
        below = max(batch_size - batch_size % ranks.size, 2 * ranks.size)
        raise InputError(
            f"batches of {batch_size} images for {ranks.size} processes",
            "the same number of images, two or more, for each process: the batch is that of all processes",
            f"write a multiple, such as --batch-size {below}, or another --nproc-per-node",
        )


def check_writer(ranks: Ranks) -> None:
    """Refuse to write files in another process than the first.

    Raises:
        InputError: this is another one.
    """
    if not ranks.is_main:
        raise InputError(
            f"a file to write in process {ranks.rank} of {ranks.size}",
            "the first process, which alone writes",
            "write `if torch.distributed.get_rank() == 0:` before it",
        )


def own_device(device: torch.device) -> torch.device:
    """The device of this process: of several with CUDA each takes the one of its number on this machine."""
    if device.type != "cuda" or device.index is not None or not launched():
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK") or 0) % torch.cuda.device_count())


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def _meet() -> None:
    """Open the connections to the other processes."""
    size = int(os.environ["WORLD_SIZE"])
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.device_count() >= _local_size(size) else "gloo"
    with _answered(size):
        store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
        store.set_timeout(TIMEOUT)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    atexit.register(_leave)
    report_once(lambda: _is_first(lambda count: int(store.add(_REPORTS, count)), rank, size))


def _is_first(add: Callable[[int], int], rank: int, size: int) -> bool:
    """Whether this process is the first to report the error that ends it.

    The store ends with process 0, which therefore leaves the others a moment to count themselves as well.

    Args:
        add: adds to the number of processes that report, and returns it.
        rank: number of this process.
        size: number of processes.
    """
    first = add(1) == 1
    until = time.monotonic() + _GRACE
    while rank == 0 and time.monotonic() < until and add(0) < size:
        time.sleep(0.02)
    return first


def _leave() -> None:
    """Close the connections, and release the store and all else that holds threads.

    Objects in cycles, too, and with time for the threads to end: what is left to the end of the interpreter
    aborts the process at times.
    """
    report_once(lambda: True)
    if _in_group():
        dist.destroy_process_group()
    gc.collect()
    time.sleep(_END)


def _local_size(size: int) -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE") or size)


def _check_precision() -> None:
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision not in ("no", ""):
        raise InputError(
            f"accelerate set to {precision} precision",
            "the precision of harden's own option: perturbations and weights stay float32",
            "write --bfloat16, and `accelerate launch --mixed_precision no`",
        )


@contextmanager
def _answered(size: int) -> Iterator[None]:
    """Turn an exchange that fails into a LostProcessError."""
    try:
        yield
    except RuntimeError as error:
        # Without the place in torch's source that gloo begins with, and its advice behind the sentence.
        reason = re.sub(r"^\[/[^\]]*\]\s*", "", " ".join(str(error).split())).partition(". ")[0][:120]
        raise LostProcessError(
            f"no answer of another of the {size} processes ({reason})",
            "processes that all run until the run has ended",
            "read why that process ended, and continue with --resume "
            "(in Python Checkpoints(..., resume=True)), with any number of processes",
        ) from error
