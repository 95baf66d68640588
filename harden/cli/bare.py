"""A bare ONNX file as a model: its own graph gives the gradients, and onnxruntime decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch

from harden.artefact.gated import first_images, judge_of
from harden.artefact.parity import check_parity
from harden.artefact.session import Session
from harden.cli.specs import ModelSpec
from harden.data import Source, Splits
from harden.errors import ExportError, InputError
from harden.graph import Graph, GraphNetwork, read
from harden.graph.operations import QuantizeLinear
from harden.losses import Classify
from harden.models import Classifier

ALIKE = 0.8
"""The least share of images that a quantised file and its reading have to answer alike."""


def is_bare(spec: ModelSpec) -> bool:
    """Whether a model is an ONNX file by itself."""
    return spec.spec.endswith(".onnx") and ":" not in spec.spec


@final
@dataclass(frozen=True, slots=True, eq=False)
class Bare:
    """A file that was read and fits the data.

    Args:
        path: the file.
        graph: what is in it.
        session: its execution.
        model: its differentiable reading.
    """

    path: Path
    graph: Graph
    session: Session
    model: Classifier

    @classmethod
    def of(cls, path: Path, splits: Splits, source: Source) -> Bare:
        """Read a file and hold its reading against the runtime's.

        Raises:
            InputError: the file can't be read, is for other images or classes, or its reading does not
                compute what the runtime does.
        """
        graph = read(path)
        if graph.input.shape[1:] != splits.test.image_shape:
            raise InputError(
                f"{path} for images {graph.input.shape[1:]}",
                f"images {splits.test.image_shape}, (C, H, W), as the data has them",
                "bring images and file to one size and layout",
            )
        session = Session(path, exported=False)
        if session.classes != len(splits.test.classes):
            raise InputError(
                f"{path} with {session.classes} classes",
                f"{len(splits.test.classes)}, as the data has",
                "evaluate it on the data of its task",
            )
        model = Classifier(GraphNetwork(graph))
        _check_reading(path, graph, model, session, source)
        return cls(path, graph, session, model)

    @property
    def judge(self) -> Classify:
        """The runtime: images to logits."""
        return judge_of(self.session)


def bare(spec: ModelSpec, splits: Splits, source: Source) -> tuple[Classifier, Classify, str]:
    """The differentiable reading of a file, the runtime as a judge, and what decides, in words.

    Raises:
        InputError: as `Bare.of`, or there are options that are for networks of other kinds.
    """
    if given := spec.given():
        raise InputError(
            f"{spec.spec} with {' and '.join(given)}",
            "a file alone, which has its own",
            "leave these options out",
        )
    file = Bare.of(Path(spec.spec), splits, source)
    return file.model, file.judge, f"{file.path} in onnxruntime, white box through its own graph"


def _check_reading(path: Path, graph: Graph, model: Classifier, session: Session, source: Source) -> None:
    """Refuse gradients of one network with verdicts of another: the number would flatter."""
    x, _ = first_images(source)
    if any(isinstance(node.operation, QuantizeLinear) for node in graph.nodes):
        # A value near half a step may be rounded to either side, and logits differ by a step.
        with torch.no_grad():
            alike = model.logits(x).argmax(1).numpy() == session(x.numpy()).argmax(1)
        if float(np.mean(alike)) < ALIKE:
            raise _not_alike(path, f"{int(alike.sum())} of {len(alike)} answers alike")
        return
    try:
        check_parity(model, session, x)
    except ExportError as error:
        raise _not_alike(path, error.seen) from error


def _not_alike(path: Path, seen: str) -> InputError:
    return InputError(
        f"{path}, whose reading computes something else ({seen})",
        "what onnxruntime computes",
        "report it, with the file; attack it as a black box meanwhile",
    )
