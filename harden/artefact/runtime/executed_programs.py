"""Graphs that onnxruntime executes for a file, at every level of its optimisation, for proofs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from harden.artefact.runtime.session import Session
from harden.bounds import Program
from harden.certificate.untrusted.trial_load import check_affordable
from harden.errors import InputError
from harden.evaluation.proofs.runtime_agreement import Execution, Runtime
from harden.graph import Graph, UnreadableError, read
from harden.graph.executed.optimised_graphs import runtime_graphs
from harden.graph.foreign_classifier import as_classifier, with_image_size
from harden.system.atomic_files import read_bytes
from harden.system.size_limits import MODEL_BYTES

THREADS: Final = (1, 2)
"""Threads of each operator, in the sessions that bounds are compared with."""
BUILD: Final = f"onnxruntime {onnxruntime.__version__}, CPUExecutionProvider"


def executions(
    model: str | Path | bytes,
    *,
    image_shape: tuple[int, ...] | None = None,
    classifier: bool = True,
    device: torch.device | str = "cpu",
) -> tuple[Execution, ...]:
    """The distinct graphs that sessions execute for a file, with sound rules for all their operations.

    Args:
        model: the file, or its bytes.
        image_shape: of one image in the file's layout, for dynamic sizes.
        classifier: whether the output is interpreted as logits (N, K), K >= 2
            (`foreign_classifier.classifying`), or used as it is.
        device: of the bounds; the runtime is on the CPU.

    Raises:
        InputError: the file is no classifier, or an operation can't be read or bounded; it is named, with
            the level at which onnxruntime writes it.
    """
    _check_affordable(model, image_shape)
    try:
        graphs = runtime_graphs(model, image_shape)
    except UnreadableError:
        # An operation of the original file without a rule is the cause, whatever the optimisation does.
        sized = model if image_shape is None else with_image_size(model, image_shape)
        Program.of(_as(classifier, read(sized)), device=device)
        raise
    found = []
    for each in graphs:
        graph = _as(classifier, each.graph)
        try:
            program = Program.of(graph, device=device)
        except InputError as error:
            if "disabled" in each.levels:
                raise
            where = f"in the graph that onnxruntime executes at optimisation level {each.levels[-1]!r}"
            raise InputError(f"{error.seen}, {where}", error.expected, error.instead) from error
        runtimes: dict[str, Runtime] = {}
        for level in each.levels:
            for count in THREADS:
                name = f"{level}, {count} thread{'s' if count > 1 else ''}"
                runtimes[name] = _LazySession(model, level, count, image_shape, classifier)
        found.append(Execution(program, each.levels, runtimes, BUILD, graph))
    return tuple(found)


def _check_affordable(model: str | Path | bytes, image_shape: tuple[int, ...] | None) -> None:
    """Refuse a file that can't be loaded within limits: onnxruntime computes constants at each level."""
    if isinstance(model, bytes):
        check_affordable(model, "the graph", image_shape)
        return
    with suppress(OSError):  # which reading the graph reports
        check_affordable(read_bytes(model, MODEL_BYTES), str(model), image_shape)


def _as(classifier: bool, graph: Graph) -> Graph:
    return as_classifier(graph) if classifier else graph


@final
@dataclass
class _LazySession:
    """A session that is created on first use: most files prove nothing at most levels."""

    model: str | Path | bytes
    level: str
    threads: int
    image_shape: tuple[int, ...] | None
    classifier: bool

    @cached_property
    def session(self) -> Session:
        return Session(
            self.model, threads=self.threads, level=self.level, exported=False, image_shape=self.image_shape
        )

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs (N, K) of inputs in the file's layout; a classifier's one logit z becomes (0, z)."""
        found = self.session(x)
        if found.shape[1] > 1 or not self.classifier:
            return found
        return np.concatenate([np.zeros_like(found), found], 1)
