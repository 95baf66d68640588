"""A bare ONNX file as a model: its own graph gives the gradients, and onnxruntime decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.artefact.gated import first_images, judge_of
from harden.artefact.parity import check_parity
from harden.artefact.session import Session
from harden.cli.specs import ModelSpec
from harden.data import Source, Splits
from harden.errors import ExportError, InputError
from harden.graph import Graph, GraphNetwork, read
from harden.graph.operations import QuantizeLinear
from harden.models import Classifier
from harden.models.arranged import Arranged, Arrangement, Opaque

ALIKE = 0.8
"""The least share of images that a quantised file and its reading have to answer alike."""


def is_bare(spec: ModelSpec) -> bool:
    """Whether a model is an ONNX file by itself."""
    return spec.spec.endswith(".onnx") and ":" not in spec.spec


def file_of(model: str) -> Path:
    """The ONNX file that is meant: itself, or the one in a folder.

    Raises:
        InputError: there is none.
    """
    path = Path(model)
    if path.is_dir() and (path / "model.onnx").is_file():
        return path / "model.onnx"
    if not is_bare(ModelSpec(model)) or not path.is_file():
        raise InputError(
            f"{model}, where no ONNX file is" if is_bare(ModelSpec(model)) else f"model {model!r}",
            "an ONNX file, or a folder with a model.onnx",
            "export the model first: harden export",
        )
    return path


@final
@dataclass(frozen=True, slots=True, eq=False)
class Bare:
    """A file that fits the data.

    Args:
        path: the file.
        session: its execution, on inputs as the file takes them.
        arrangement: from images to such inputs.
    """

    path: Path
    session: Session
    arrangement: Arrangement

    @classmethod
    def of(cls, path: Path, splits: Splits) -> Bare:
        """Load a file into the runtime.

        Raises:
            InputError: it does not load, or is for other images or classes.
        """
        session = Session(path, exported=False)
        arrangement = Arrangement.between(splits.test.image_shape, session.image_shape)
        if arrangement is None:
            raise InputError(
                f"{path} for images {session.image_shape}",
                f"images {splits.test.image_shape}, (C, H, W), as the data has them, or channels last",
                "bring images and file to one size and layout",
            )
        if session.classes != len(splits.test.classes):
            raise InputError(
                f"{path} with {session.classes} classes",
                f"{len(splits.test.classes)}, as the data has",
                "evaluate it on the data of its task",
            )
        return cls(path, session, arrangement)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of the images, as the data have them."""
        return self.arrangement.image

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, K) of images (N, C, H, W)."""
        found: NDArray[np.float32] = self.judge(torch.from_numpy(x)).numpy()
        return found

    def judge(self, x: Tensor) -> Tensor:
        """The runtime: images to logits."""
        return judge_of(self.session)(self.arrangement(x))

    def reading(self, source: Source) -> tuple[Graph, Classifier]:
        """The file's graph, and it as a classifier, held against what the runtime computes.

        Raises:
            UnreadableError: there are operations that are not known.
            InputError: the reading computes something else.
        """
        graph = read(self.path)
        model = Classifier(Arranged(GraphNetwork(graph), self.arrangement))
        self._check(graph, model, source)
        return graph, model

    def opaque(self) -> Classifier:
        """The runtime as a classifier without gradients."""
        return Classifier(Opaque(self.judge))

    def _check(self, graph: Graph, model: Classifier, source: Source) -> None:
        """Refuse gradients of one network with verdicts of another: the number would flatter."""
        x, _ = first_images(source)
        with torch.no_grad():
            theirs = self.judge(x)
        if any(isinstance(node.operation, QuantizeLinear) for node in graph.nodes):
            # A value near half a step may be rounded to either side, and logits differ by a step.
            with torch.no_grad():
                alike = model.logits(x).argmax(1) == theirs.argmax(1)
            if float(alike.double().mean()) < ALIKE:
                raise _not_alike(self.path, f"{int(alike.sum())} of {len(alike)} answers alike")
            return
        try:
            check_parity(model, self, x)
        except ExportError as error:
            raise _not_alike(self.path, error.seen) from error


def _not_alike(path: Path, seen: str) -> InputError:
    return InputError(
        f"{path}, whose reading computes something else ({seen})",
        "what onnxruntime computes",
        "report it, with the file; meanwhile attack it with --black-box",
    )
