"""What a file computes, by our reading and by onnxruntime at each level, within a derived tolerance."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
import onnxruntime
import torch

from harden.graph import Graph
from tests.graph.graphs import Array

_LEVELS = onnxruntime.GraphOptimizationLevel
LEVELS = {
    "disabled": _LEVELS.ORT_DISABLE_ALL,
    "basic": _LEVELS.ORT_ENABLE_BASIC,
    "extended": _LEVELS.ORT_ENABLE_EXTENDED,
    "all": _LEVELS.ORT_ENABLE_ALL,
}
UNIT = 2.0**-23


def reading(graph: Graph, x: Array) -> tuple[Array, Array]:
    """What a graph gives in float32 and in float64."""
    exact = {name: each.double() for name, each in graph.constants.items()}
    with torch.no_grad():
        found = graph.run(torch.from_numpy(x)).numpy()
        wide: Array = graph.run(torch.from_numpy(x).double(), exact).numpy()
    return found, wide


def tolerance(found: Array, wide: Array) -> float:
    """The parity gate's own: eight times what float32 rounds here, or 64 roundings of the largest value."""
    if not wide.size:
        return 0.0
    return float(max(8 * np.abs(found - wide).max(), 64 * UNIT * np.abs(wide).max()))


@lru_cache(maxsize=1)
def _options(level: str, threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.graph_optimization_level = LEVELS[level]
    return options


def runtime(file: onnx.ModelProto, x: Array, level: str, threads: int = 1) -> Array | None:
    """What onnxruntime gives; None where it refuses the file."""
    try:
        session = onnxruntime.InferenceSession(
            file.SerializeToString(), _options(level, threads), providers=["CPUExecutionProvider"]
        )
        found: Array = session.run(None, {session.get_inputs()[0].name: x})[0]
    except Exception:  # onnxruntime raises classes of its own that share no parent but this
        return None
    return found


def difference(file: onnx.ModelProto, graph: Graph, x: Array) -> str | None:
    """At which level the runtime differs from the reading, and by how much; None where it nowhere does."""
    found, wide = reading(graph, x)
    allowed = tolerance(found, wide)
    for level in LEVELS:
        answer = runtime(file, x, level)
        if answer is None:
            return f"{level}: the runtime refuses what is read"
        if answer.shape != wide.shape:
            return f"{level}: shape {answer.shape} instead of {wide.shape}"
        apart = float(np.abs(answer - wide).max()) if wide.size else 0.0
        if not apart <= allowed:
            return f"{level}: {apart:.3g} apart, {allowed:.3g} allowed"
    return None
