"""An ONNX file as a classifier: its own graph gives the gradients, and onnxruntime decides."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harden.artefact.parity.parity_gate import check_parity
from harden.artefact.parity.parity_gated_export import first_images, judge_of
from harden.artefact.runtime.executed_programs import executions
from harden.artefact.runtime.session import Session, read_model
from harden.artefact.runtime.session_memory import limit_arena
from harden.data import Source, Splits
from harden.data.align_labels import are_numbers
from harden.errors import ExportError, InputError
from harden.evaluation.proofs.runtime_agreement import Execution
from harden.graph import Graph, GraphNetwork, UnreadableError, read
from harden.graph.foreign_classifier import as_classifier, with_image_size
from harden.graph.operators.quantisation import QuantizeLinear
from harden.models import Classifier
from harden.models.input_layout import GradientFreeNetwork, InputAdapter, InputArrangement
from harden.models.logits_of_output import binary
from harden.models.wrapping_checks import check_normalisation

Numbers = tuple[float, ...] | None
ALIKE = 0.8
"""The least share of images that a quantised file and its reading have to classify alike."""

_COMPARING = 0.05
"""Share of a limit of time for comparing a reading with the runtime, on fewer images if necessary."""
_EXECUTIONS = 10
"""Cost of that comparison for an image: the runtime four times, the reading thrice, once in float64."""
NORMALISED = "where the file expects normalised images, give --mean and --std"
_RULES = "operators with a rule: gradients through the file, and proofs of it, need one for each"
_BLACK_BOX = "write --black-box, which evaluate, baseline update and check take: evidence by attack alone"


def classes_of(session: Session) -> int:
    """The number of classes of a file's logits; one logit is for two classes.

    Raises:
        InputError: it gives no logits (K,), but a map or a table of numbers for each image.
    """
    if sum(size > 1 for size in session.answer_shape) > 1:
        raise InputError(
            f"a file that gives an answer of shape {session.answer_shape} for each image",
            "a classifier's logits, (K,)",
            "export a network with one logit for each class; segmentation and detection are not covered",
        )
    return max(session.classes, 2)


def names_onnx_file(model: str) -> bool:
    """Whether a model's name is that of an ONNX file by itself."""
    return model.endswith(".onnx") and ":" not in model


def file_of(model: str) -> Path:
    """The path of an ONNX file: the one that is named, or model.onnx in the folder that is.

    Raises:
        InputError: there is none.
    """
    path = Path(model)
    if path.is_dir() and (path / "model.onnx").is_file():
        return path / "model.onnx"
    if not names_onnx_file(model) or not path.is_file():
        raise InputError(
            f"{model}, where no ONNX file is" if names_onnx_file(model) else f"model {model!r}",
            "an ONNX file, or a folder with a model.onnx",
            "export the model first: harden export",
        )
    return path


@final
@dataclass(frozen=True, slots=True, eq=False)
class OnnxClassifier:
    """An ONNX file that takes images of the data's shape, in onnxruntime.

    Args:
        path: the file.
        content: its bytes, read once: these are executed, read as a graph and digested.
        session: its execution, on inputs as the file takes them.
        arrangement: from images to such inputs.
        mean: of the normalisation that the file expects its images to have gone through; None for none.
        std: likewise.
    """

    path: Path
    content: bytes
    session: Session
    arrangement: InputArrangement
    mean: Numbers = None
    std: Numbers = None

    @classmethod
    def of(cls, path: Path, splits: Splits, mean: Numbers = None, std: Numbers = None) -> OnnxClassifier:
        """Load a file into the runtime, for the images and classes of a data set.

        Raises:
            InputError: it does not load, or is for other images or classes; mean and std do not fit.
        """
        file = cls.load(path, splits.test.image_shape, mean, std)
        own = splits.test.classes
        # Labels of a test part alone may be numbers of which the highest are missing.
        fewer = splits.is_test_alone and are_numbers(own) and len(own) < file.classes
        if file.classes != len(own) and not fewer:
            raise file.other_classes(len(own))
        return file

    @classmethod
    def load(
        cls, path: Path, image_shape: tuple[int, ...], mean: Numbers = None, std: Numbers = None
    ) -> OnnxClassifier:
        """Load a file into the runtime, for images of a shape (C, H, W).

        Raises:
            InputError: it does not load, is for other images, or is no classifier; mean and std do not fit.
        """
        check_normalisation(mean, std)
        channels = image_shape[0]
        if mean is not None and len(mean) not in (1, channels):
            raise InputError(
                f"{len(mean)} means for images with {channels} channels",
                "one for each channel, or one",
                "write as many of each as the images have channels",
            )
        limit_arena()
        content = read_model(path)
        session = Session(content, exported=False, image_shape=image_shape, name=str(path))
        arrangement = InputArrangement.between(image_shape, session.image_shape)
        if arrangement is None:
            raise InputError(
                f"{path} for images {session.image_shape}",
                f"images {image_shape}, (C, H, W), as the data has them, or channels last",
                "bring images and file to one size and layout",
            )
        classes_of(session)
        return cls(path, content, session, arrangement, mean, std)

    @property
    def classes(self) -> int:
        """The number of classes: of logits, or two for one logit."""
        return classes_of(self.session)

    def other_classes(self, count: int) -> InputError:
        """The error for data of another number of classes."""
        seen = "one logit, read as two" if self.session.classes == 1 else f"{self.classes}"
        return InputError(
            f"{self.path} with {seen} classes",
            f"{count}, as the data has",
            "evaluate it on the data of its task",
        )

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of the images, as the data have them."""
        return self.arrangement.image

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, K) of images (N, C, H, W)."""
        found: NDArray[np.float32] = self.judge(torch.from_numpy(x)).numpy()
        return found

    def judge(self, x: Tensor) -> Tensor:
        """Execute the file: images to logits (N, K), (0, z) where the file has one logit z."""
        return binary(judge_of(self.session)(self.inputs(x)))

    def inputs(self, x: Tensor) -> Tensor:
        """The file's inputs for images (N, C, H, W): normalised, and in its layout."""
        if self.mean is not None and self.std is not None:
            mean, std = (x.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
            x = (x - mean) / std
        return self.arrangement(x)

    def reading(self, source: Source, minutes: float | None = None) -> tuple[Graph, Classifier]:
        """Read the file's graph as a classifier, and compare it with what the runtime computes.

        Args:
            source: images to compare on, the first ones.
            minutes: the limit of time of the evaluation that follows, of which the comparison takes a small
                share, on fewer images if necessary; None for no limit.

        Raises:
            UnreadableError: there are operations that are not known.
            InputError: the reading computes something else.
        """
        any_size, shape = self.session.takes_any_size, self.session.image_shape
        try:
            graph = as_classifier(read(with_image_size(self.content, shape) if any_size else self.content))
        except UnreadableError as error:
            raise UnreadableError(f"{self.path}: {error.seen}", _RULES, _BLACK_BOX) from error
        model = Classifier(InputAdapter(GraphNetwork(graph), self.arrangement), self.mean, self.std)
        self._check(graph, model, source, minutes)
        return graph, model

    def executions(self, device: torch.device | str = "cpu") -> tuple[Execution, ...]:
        """The graphs that sessions execute for the file, to be bounded on a device.

        Raises:
            InputError: an operation has no bound, or images are normalised outside of the file.
        """
        if self.mean is not None:
            raise InputError(
                f"a proof of {self.path} with --mean and --std",
                "a file that normalises its images itself: a proof is about what the file computes",
                "export the model with its normalisation inside, as harden export does",
            )
        return executions(self.content, image_shape=self.session.image_shape, device=device)

    def opaque(self) -> Classifier:
        """The runtime as a classifier without gradients."""
        return Classifier(GradientFreeNetwork(self.judge))

    def _check(self, graph: Graph, model: Classifier, source: Source, minutes: float | None) -> None:
        """Refuse a reading that differs from the runtime: its gradients would overstate robustness."""
        x, _ = first_images(source)
        began = time.perf_counter()
        self.judge(x[:1])
        if minutes is not None:
            seconds = _EXECUTIONS * (time.perf_counter() - began)
            x = x[: max(1, int(_COMPARING * 60 * minutes / max(seconds, 1e-9)))]
        with torch.no_grad():
            theirs = self.judge(x)
        if any(isinstance(node.operation, QuantizeLinear) for node in graph.nodes):
            # A value near half a step may be rounded to either side, and logits differ by a step.
            with torch.no_grad():
                alike = model.logits(x).argmax(1) == theirs.argmax(1)
            if float(alike.double().mean()) < ALIKE:
                raise _not_alike(self.path, f"{int(alike.sum())} of {len(alike)} images classified alike")
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
