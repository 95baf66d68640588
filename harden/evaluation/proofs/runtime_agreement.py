"""Comparison of a runtime's outputs with the bounds of its graphs, the assumption of every proof.

A proof is about the graph as harden reads it. If the runtime computes an operator differently, the proof is
about another function. So executions of the file are compared with the bounds at points of the regions that
proofs are about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.bounds import Program
from harden.bounds.crown.intermediate_bounds import relax
from harden.bounds.region import Region
from harden.graph import Graph

Runtime = Callable[[NDArray[np.float32]], NDArray[np.float32]]
CORNERS: Final = 2
INSIDE: Final = 2
"""Numbers of compared points of each region: corners, and uniform ones; its centre is added."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Execution:
    """A graph that a runtime executes, and the sessions that execute it.

    Args:
        program: the graph's operations.
        levels: of graph optimisation at which it is executed.
        runtimes: by a name such as "all, 2 threads", inputs (N, ...) to outputs (N, K).
        build: the runtime and its version.
        graph: the executed graph in ONNX's own operators; None where it is not needed.
    """

    program: Program
    levels: tuple[str, ...]
    runtimes: Mapping[str, Runtime] = field(default_factory=dict)
    build: str = ""
    graph: Graph | None = None


@final
@dataclass(frozen=True, slots=True)
class ComparedRuntime:
    """The runtime that a proof was compared with, and its settings.

    Args:
        build: the runtime and its version.
        sessions: names of those that were compared: a level of graph optimisation, and threads.
        graphs: distinct ones that these sessions execute; a proof is one for each of them.
    """

    build: str
    sessions: tuple[str, ...]
    graphs: int

    @classmethod
    def of(cls, executions: Sequence[Execution]) -> ComparedRuntime:
        """The runtime of some executions of one file."""
        names = tuple(name for each in executions for name in each.runtimes)
        return cls(", ".join(sorted({each.build for each in executions})), names, len(executions))


@final
@dataclass(frozen=True, slots=True)
class Disagreement:
    """An output of a runtime outside of the interval that holds every float32 execution of the graph.

    Args:
        runtime: its name.
        point: number of the input.
        output: number of the output.
        value: that the runtime gave.
        lower: end of the interval.
        upper: end of the interval.
    """

    runtime: str
    point: int
    output: int
    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        """The place and the numbers in one sentence."""
        interval = f"[{self.lower:.9g}, {self.upper:.9g}]"
        return (
            f"onnxruntime at level {self.runtime} gives {self.value:.9g} for output {self.output}"
            f" at input {self.point} of those compared; bounds of its graph are {interval}"
        )


def disagreement(execution: Execution, points: Tensor) -> Disagreement | None:
    """The first output of a runtime outside the interval of all float32 executions of its graph, or None.

    The interval of an output at a point contains the float32 result for any order of summation, so a runtime
    whose graph is read correctly never leaves it. Where float32 may overflow there is no interval and no
    comparison: nothing is proved there either.

    Args:
        execution: graph and sessions.
        points: (N, ...) float32, inputs of the graph.
    """
    if not len(points):
        return None
    with torch.no_grad():
        exact = points.to(torch.float64)
        found = relax(execution.program, Region(exact, exact), backward=False)
    lower, upper = (end.flatten(1).cpu().numpy() for end in found.intervals[execution.program.output])
    known = np.isfinite(lower) & np.isfinite(upper)
    given = points.to(torch.float32).cpu().numpy()
    for name, runtime in execution.runtimes.items():
        outputs = runtime(given).reshape(lower.shape).astype(np.float64)
        outside = known & ~((outputs >= lower) & (outputs <= upper))  # a NaN is outside, too
        if outside.any():
            point, output = (int(each) for each in np.argwhere(outside)[0])
            ends = float(lower[point, output]), float(upper[point, output])
            return Disagreement(name, point, output, float(outputs[point, output]), *ends)
    return None


def first_disagreement(executions: Sequence[Execution], points: Tensor) -> Disagreement | None:
    """The first disagreement of all graphs at some points, or None."""
    return next((found for each in executions if (found := disagreement(each, points)) is not None), None)


def points_of(region: Region, generator: torch.Generator) -> Tensor:
    """Points (M, ...) of each region's box, float32: its centre, some corners, and some drawn uniformly.

    The same state of the generator gives the same points.
    """
    lower, upper = region.lower.cpu(), region.upper.cpu()
    shares = [torch.full_like(lower, 0.5)]
    for number in range(CORNERS + INSIDE):
        share = torch.rand(lower.shape, generator=generator, dtype=lower.dtype)
        shares.append(share.round() if number < CORNERS else share)
    return torch.cat([_between(lower, upper, share) for share in shares])


def _between(lower: Tensor, upper: Tensor, share: Tensor) -> Tensor:
    """Float32 numbers of the box, rounded inwards."""
    exact = (lower + share * (upper - lower)).clamp(lower, upper)
    found = exact.to(torch.float32)
    end = torch.tensor(torch.inf, dtype=torch.float32)
    found = torch.where(found > upper, torch.nextafter(found, -end), found)
    return torch.where(found < lower, torch.nextafter(found, end), found)
