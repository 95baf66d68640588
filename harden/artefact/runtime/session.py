"""Session of an ONNX file in onnxruntime, which decides every claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from harden.artefact.runtime.resolve_input_shape import filled
from harden.artefact.runtime.session_memory import SHARED, is_limited
from harden.certificate.optimisation_levels import LEVELS
from harden.certificate.ports import INPUT, OUTPUT
from harden.certificate.untrusted.onnx_limits import check_runnable
from harden.certificate.untrusted.trial_load import check_affordable, reason_of
from harden.errors import InputError
from harden.system.atomic_files import read_bytes, refuse_pointer
from harden.system.size_limits import MODEL_BYTES, RUNTIME_BYTES


@final
class Session:
    """Runs an ONNX graph of images (batch, C, H, W) -> logits (batch, K) in float32 on the CPU.

    A file that harden did not export may take images of other layouts, (batch, ...).

    The file is checked before the runtime gets it: no external files, no loops, no recursive functions
    (`harden.certificate.untrusted.onnx_limits`); a file from elsewhere also has to run on an image in a
    limited process (`harden.certificate.untrusted.trial_load`).

    Args:
        model: the file, or its bytes.
        threads: of each operator; 1 by default, so that a result does not depend on the machine's cores.
        level: of graph optimisation, a name of `certificate.optimisation_levels.LEVELS`; a session's default.
        exported: whether harden exported it: then input and output are `image` and `logits`, and the batch
            is dynamic. Another file may have any names, and one batch size: it gets that many images at a
            time.
        image_shape: (C, H, W) of the images, for dynamic sizes of another file.
        name: of the file in messages, where its bytes are given.
        tried: whether an exported file, too, has to run on an image in a limited process first: true unless
            this process exported it.

    Attributes:
        classes: number of outputs per image.
        answer_shape: their shape: (K,), or another one of K values.
        takes_any_size: whether dynamic sizes were resolved from the images.

    Raises:
        InputError: it is no such graph, exceeds a limit of memory or time, or the file cannot be read.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        *,
        threads: int = 1,
        level: str = "all",
        exported: bool = True,
        image_shape: tuple[int, ...] | None = None,
        name: str = "the graph",
        tried: bool = False,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = LEVELS[level]
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised, and reported once, by harden
        self._name = name if isinstance(model, bytes) else str(model)
        content = model if isinstance(model, bytes) else read_model(Path(model))
        try:
            check_runnable(content)
        except InputError as error:
            instead = error.instead if exported else "export the classifier as one file, its weights inside"
            raise InputError(f"{self._name} does not load: {error.seen}", error.expected, instead) from error
        if tried or not exported:
            check_affordable(content, self._name, image_shape)
        if is_limited():
            options.add_session_config_entry(*SHARED)
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # the classes of onnxruntime's errors have no other base
            raise InputError(
                f"{self._name} does not load ({reason_of(error)})", "an ONNX model", "export it again"
            ) from error
        self._exported, self._given = exported, image_shape
        self.takes_any_size = False
        self._batch: int | None = None
        self._names = (INPUT, OUTPUT)
        self.answer_shape: tuple[int, ...] = ()
        self._image_shape, self.classes = self._ports()
        self.answer_shape = self.answer_shape or (self.classes,)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one image, (C, H, W) in what harden exported."""
        return self._image_shape

    def _ports(self) -> tuple[tuple[int, ...], int]:
        """(C, H, W) and K, from the only input and the only output."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        try:
            names = [port.name for port in (*inputs, *outputs)]
            kinds = [port.type for port in (*inputs, *outputs)]
            shapes = [port.shape for port in (*inputs, *outputs)]
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self._name} with a name that is not UTF-8", "an ONNX model", "export it again"
            ) from error
        known = names == [INPUT, OUTPUT] if self._exported else len(inputs) == len(outputs) == 1
        if known and kinds == [_FLOAT, _FLOAT]:
            self._names = (names[0], names[1])
            found = self._exported_sizes(*shapes) if self._exported else self._foreign_sizes(*shapes)
            if found is not None:
                return found
        said = (INPUT, OUTPUT) if self._exported else ("images", "logits")
        raise InputError(
            f"{self._name} with inputs and outputs {names}, {kinds} of shapes {shapes}"[:400],
            f"{said[0]} (batch, {'C, H, W' if self._exported else '...'}) -> {said[1]} (batch, K), "
            "both of float32",
            "use a model that harden exported" if self._exported else "export the classifier alone",
        )

    def _exported_sizes(self, image: _Sizes, logits: _Sizes) -> tuple[tuple[int, ...], int] | None:
        known = _known([*image[1:], *logits[1:]])
        if (len(image), len(logits)) != (4, 2) or known is None:
            return None
        return known[:-1], known[-1]

    def _foreign_sizes(self, image: _Sizes, logits: _Sizes) -> tuple[tuple[int, ...], int] | None:
        """Dynamic sizes are those of the images; a dynamic number of logits is that of one run."""
        if len(image) < 2:
            return None
        size = _known(image[1:])
        if size is None:
            open_sizes = [each if type(each) is int and each > 0 else None for each in image[1:]]
            size = None if self._given is None else filled(open_sizes, self._given)
            self.takes_any_size = True
        if size is None:
            return None
        self._batch = image[0] if type(image[0]) is int and image[0] > 0 else None
        self.answer_shape = (_known(logits[1:]) if logits else None) or self._probed_shape(size)
        return size, math.prod(self.answer_shape)

    def _probed_shape(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the output for an image, where the file does not declare it."""
        images = np.zeros((self._batch or 1, *size), dtype=np.float32)
        found = self._answer(images)
        if not found.ndim or len(found) != len(images) or not found.size:
            raise self._unlike(found.shape, len(images), "K")
        return found.shape[1:]

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, K) of images (N, C, H, W) in [0, 1].

        Raises:
            InputError: x has another shape, or the file does not run or gives something else.
        """
        if x.shape[1:] != self.image_shape or not x.ndim:
            seen, expected = f"images of shape {x.shape}", ", ".join(map(str, self.image_shape))
            raise InputError(seen, f"(N, {expected})", "pass a batch as the model was exported for")
        image = np.ascontiguousarray(x, dtype=np.float32)
        if self._batch is not None and len(x) != self._batch:
            return self._in_batches(image, self._batch)
        logits = self._answer(image)
        if not logits.ndim or len(logits) != len(x) or logits.size != len(x) * self.classes:
            raise self._unlike(logits.shape, len(x), self.classes)
        return logits.reshape(len(x), self.classes)

    def _answer(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output of the runtime, in any shape."""
        try:
            found: Any = self._session.run([self._names[1]], {self._names[0]: image})[0]
        except Exception as error:  # as above: onnxruntime's classes have no other base
            seen = f"{self._name} does not run ({reason_of(error)})"
            if is_limited() and "vailable memory of" in str(error):
                raise InputError(
                    f"{seen} on {len(image)} images",
                    f"a graph that takes at most {RUNTIME_BYTES.value:,} bytes",
                    "pass fewer images at a time (--batch-size), or "
                    f"set {RUNTIME_BYTES.variable} if you trust the file",
                ) from error
            raise InputError(seen, "an ONNX model", "export it again") from error
        return np.asarray(found, dtype=np.float32)

    def _unlike(self, shape: tuple[int, ...], n: int, classes: int | str) -> InputError:
        return InputError(
            f"{self._name} gives {shape} for {n} images",
            f"logits ({n}, {classes})",
            "export it again with a free batch size",
        )

    def _in_batches(self, x: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        """Logits in batches of a fixed size; the last image is repeated to fill the last batch."""
        if not len(x):
            return np.zeros((0, self.classes), dtype=np.float32)
        missing = -len(x) % size
        filled = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)])
        parts = [self(filled[at : at + size]) for at in range(0, len(filled), size)]
        return np.concatenate(parts)[: len(x)]


_Sizes = Sequence[object]
_FLOAT = "tensor(float)"


def read_model(path: Path) -> bytes:
    """Read a file once: the same bytes are digested, parsed, run and attacked.

    Raises:
        InputError: it can't be read, or is no file.
    """
    try:
        content = read_bytes(path, MODEL_BYTES)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", "an ONNX model", "point to an existing file"
        ) from error
    refuse_pointer(content, path)
    return content


def _known(sizes: Sequence[object]) -> tuple[int, ...] | None:
    """The sizes, or None where one of them is dynamic."""
    found = tuple(size for size in sizes if type(size) is int and size > 0)
    return found if len(found) == len(sizes) else None
