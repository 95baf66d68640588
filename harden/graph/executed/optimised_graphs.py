"""The graphs that onnxruntime executes for a file: one for each level of its graph optimisation.

A session does not execute a file as it is written: it folds constants, fuses operators and changes layouts,
and a fusion may compute something else (a Pad of zeros before MaxPool becomes MaxPool's own padding of minus
infinity). What is to be proved of a deployed file has to be proved of each graph that is executed.
https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import onnx
import onnxruntime

from harden.certificate.optimisation_levels import LEVELS
from harden.certificate.untrusted.onnx_limits import check_runnable
from harden.errors import InputError
from harden.graph.computation_digest import structure_digest
from harden.graph.executed.contrib_operators import standard_form
from harden.graph.executed.nchwc_layout import StoredWeights
from harden.graph.foreign_classifier import with_image_size
from harden.graph.operation_graph import Graph
from harden.graph.reading.load_model import load_model, one_line
from harden.graph.reading.read import UnreadableError, read
from harden.system.safe_folders import temporary_folder


@final
@dataclass(frozen=True, slots=True, eq=False)
class RuntimeGraph:
    """A graph that is executed, and at which levels.

    Args:
        levels: names of `certificate.optimisation_levels.LEVELS`.
        graph: its operations, in ONNX's own operators.
    """

    levels: tuple[str, ...]
    graph: Graph


def runtime_graphs(
    model: str | Path | bytes | onnx.ModelProto, image_shape: tuple[int, ...] | None = None
) -> tuple[RuntimeGraph, ...]:
    """The distinct graphs of a file over all levels; the one of the file as it is written comes first.

    Two graphs are the same where all operations, attributes and constants are, bit by bit, whatever their
    names; a fused operator counts as the operators that it computes.

    Args:
        model: the file, its bytes, or the parsed model.
        image_shape: of one image as the file takes it, for sizes that the file leaves open.

    Raises:
        UnreadableError: a graph has an operator that can't be read; the level is named.
        InputError: the file is no such classifier, or onnxruntime does not load it.
    """
    parsed = load_model(model)
    content = parsed.SerializeToString()
    check_runnable(content)
    found: dict[str, tuple[list[str], Graph]] = {}
    weights = StoredWeights()
    for name, level in LEVELS.items():
        if name == "disabled":
            graph = _read(parsed, image_shape)
        else:
            written = _written(content, level)
            try:
                graph = _read(standard_form(written, weights), image_shape)
            except UnreadableError as error:
                raise UnreadableError(
                    f"{error.seen}, as onnxruntime's graph optimisation at level {name!r} writes it",
                    error.expected,
                    "bound a file without it, or evaluate this one by attacks (harden evaluate)",
                ) from error
        found.setdefault(structure_digest(graph), ([], graph))[0].append(name)
    return tuple(RuntimeGraph(tuple(levels), graph) for levels, graph in found.values())


def _read(model: onnx.ModelProto, image_shape: tuple[int, ...] | None) -> Graph:
    return read(model if image_shape is None else with_image_size(model, image_shape))


def _written(content: bytes, level: onnxruntime.GraphOptimizationLevel) -> onnx.ModelProto:
    """The graph that a session at a level executes, as onnxruntime itself writes it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with temporary_folder() as folder:
        path = folder / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # onnxruntime raises a class of its own for every kind of trouble
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                one_line(f"a graph that onnxruntime does not load ({reason})"),
                "an ONNX model",
                "export it again",
            ) from error
        return onnx.load(path)
