"""Graphs that onnxruntime writes of a file at each level of optimisation, and the outputs of its sessions."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime

from benchmarks.traps.frame import Kind, centre
from benchmarks.traps.net import Array

onnxruntime.set_default_logger_severity(4)
_LEVELS: Final = onnxruntime.GraphOptimizationLevel
LEVELS: Final = {
    "disabled": _LEVELS.ORT_DISABLE_ALL,
    "basic": _LEVELS.ORT_ENABLE_BASIC,
    "extended": _LEVELS.ORT_ENABLE_EXTENDED,
    "all": _LEVELS.ORT_ENABLE_ALL,
}
DEFAULT: Final = "all/1"
"""What a session with default settings does, on one thread."""


def session(content: bytes, level: str | None, threads: int, written: Path | None = None) -> object:
    """A session on the CPU; None as the level leaves the settings alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if level is not None:
        options.graph_optimization_level = LEVELS[level]
    if written is not None:
        options.optimized_model_filepath = str(written)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def answers(content: bytes, x: Array) -> dict[str, list[float]]:
    """The logits of one input at each level, with 1 and 2 threads; of a session as it comes, "default"."""
    found = {"default": _run(session(content, None, 0), x)}
    for level in LEVELS:
        for threads in (1, 2):
            found[f"{level}/{threads}"] = _run(session(content, level, threads), x)
    return found


def default(content: bytes, x: Array) -> Array:
    """Logits (N, K) of a session with default settings, one input at a time."""
    run = session(content, None, 1)
    return np.array([_run(run, each[None]) for each in x])


def _run(run: object, x: Array) -> list[float]:
    found = run.run(None, {"image": x})[0]  # type: ignore[attr-defined]  # onnxruntime has no types
    return [float(value) for value in found[0]]


def operators(content: bytes) -> dict[str, dict[str, int]]:
    """Count of each operator in the graph as given and as each level writes it."""
    found = {"given": _counted(onnx.load_from_string(content))}
    with tempfile.TemporaryDirectory() as folder:
        for level in LEVELS:
            if level != "disabled":
                written = Path(folder) / f"{level}.onnx"
                session(content, level, 1, written)
                found[level] = _counted(onnx.load(written))
    return found


def _counted(model: onnx.ModelProto) -> dict[str, int]:
    kinds = (f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in model.graph.node)
    return dict(sorted(Counter(kinds).items()))


def fired(kind: Kind, found: dict[str, dict[str, int]]) -> bool:
    """Return whether the operators show the kind's rewrite."""
    if not kind.fired:
        return True
    level, sign = kind.fired.split()

    def count(at: str) -> int:
        return sum(
            number for each, number in found[at].items() if sign[1:] in (each, each.rpartition(":")[2])
        )

    return count(level) < count("given") if sign[0] == "-" else count(level) > count("given")


def broken(logits: list[float] | Array) -> bool:
    """Return whether the first logit is not ahead of both others: NaN included."""
    first, *others = logits
    return not all(first > other for other in others)


def robust(content: bytes, corner: Array, n: int = 200) -> bool:
    """Return whether a control keeps its answer at the known corner, the centre and random points."""
    random = np.random.default_rng(0)
    inner = random.uniform(0.25, 0.75, (n // 2, *corner.shape[1:]))
    corners = random.choice([0.25, 0.75], (n // 2, *corner.shape[1:]))
    points = np.concatenate([corner, centre(), inner, corners]).astype(np.float32)
    return not any(broken(row) for row in default(content, points))
