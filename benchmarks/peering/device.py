"""What is CUDA's: clocks by events, captured graphs, bandwidth. A dry run walks the same paths on the CPU."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, final

import torch
from torch import Tensor

from benchmarks.peering.provenance import machine
from benchmarks.peering.timing import Work, wall
from harden import kernels

WARM_UP = 3


@final
@dataclass(frozen=True, slots=True)
class Device:
    """Where it runs: a CUDA device, or the CPU in its place, where times mean nothing.

    Args:
        dry: on the CPU; no function of torch.cuda is called.
    """

    dry: bool

    @property
    def kind(self) -> str:
        """The name that torch gives it."""
        return "cpu" if self.dry else "cuda"

    @property
    def name(self) -> str:
        """What to call it in the record, and what a recorded row is recognised by."""
        return f"dry run on {platform.machine()}" if self.dry else torch.cuda.get_device_name()

    def clock(self, work: Work) -> float:
        """Seconds from before the first launch to after the last kernel, on a device that was idle."""
        if self.dry:
            return wall(work)
        torch.cuda.synchronize()
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch left it untyped
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch left it untyped
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / 1000

    def captured(self, work: Callable[[], Tensor]) -> Work:
        """The work as a CUDA graph: what it returns is one replay. In a dry run the work itself."""
        if self.dry:
            return work
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch left it untyped
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=_pool()):
            kept = work()

        def replay() -> Tensor:
            graph.replay()
            return kept

        return replay

    def peak_mib(self, work: Work) -> float | None:
        """The most that torch had allocated during the work, above what it held before; None in a dry run."""
        if self.dry:
            return None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)

    def release(self) -> None:
        """Give cached memory back between rows."""
        if not self.dry:
            torch.cuda.empty_cache()

    def describe(self) -> dict[str, Any]:
        """Device, driver's CUDA, cuDNN, and whether float32 is rounded to TF32."""
        found: dict[str, Any] = {"device": self.name, "host": machine()}
        found["kernels"] = kernels.backend(self.kind).name
        if not self.dry:
            found["capability"] = list(torch.cuda.get_device_capability())
            found["cuda"] = torch.version.cuda
            found["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]  # torch left it untyped
            found["tf32_matmul"] = torch.backends.cuda.matmul.allow_tf32
            found["tf32_conv"] = torch.backends.cudnn.allow_tf32
            found["cudnn_benchmark"] = torch.backends.cudnn.benchmark
        return found


@cache
def _pool() -> Any:
    """One pool of memory for all graphs: they are replayed one after the other, their results not kept."""
    return torch.cuda.graph_pool_handle()


def repeated(work: Work, times: int) -> Work:
    """The work so many times in a row: a single kernel is too short for a clock."""

    def run() -> None:
        for _ in range(times):
            work()

    return run


def copy_of(shape: tuple[int, ...], device: str) -> tuple[Work, int]:
    """A copy of one float32 tensor into another, and the bytes that it moves: each read and written once."""
    source = torch.ones(shape, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2 * source.nbytes


def step_of(norm: str, shape: tuple[int, ...], device: str) -> tuple[Work, int]:
    """One fused step, and the bytes that it has to move: x_adv, x and gradient read, x_adv written."""
    generator = torch.Generator().manual_seed(0)
    one = torch.rand((1, *shape[1:]), generator=generator).to(device)
    x, grad = one.expand(shape).contiguous(), (one - 0.5).expand(shape).contiguous()
    x_adv = x.clone()
    alpha, eps = torch.tensor([2 / 255], device=device), torch.tensor([8 / 255], device=device)
    step = {"linf": kernels.linf_step_, "l2": kernels.l2_step_}[norm]
    return lambda: step(x_adv, x, grad, alpha, eps, 0.0, 1.0), 4 * x.nbytes
