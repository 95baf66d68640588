"""An ONNX file as onnxruntime executes it: what decides every claim."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from harden.certificate.runnable import check_runnable
from harden.errors import InputError

INPUT, OUTPUT = "image", "logits"


@final
class Session:
    """Runs an ONNX graph `image` (batch, C, H, W) -> `logits` (batch, K) in float32 on the CPU.

    What the runtime is given is what was looked at first: no other files, no loops, no endless functions
    (`harden.certificate.runnable`).

    Args:
        model: the file, or its bytes.
        threads: of each operator; 1 by default, so that a result does not depend on the machine's cores.

    Raises:
        InputError: it is no such graph, or the file cannot be read.
    """

    def __init__(self, model: str | Path | bytes, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised, and said once, by us
        self._name = "the graph" if isinstance(model, bytes) else str(model)
        content = model if isinstance(model, bytes) else _read(Path(model))
        try:
            check_runnable(content)
        except InputError as error:
            raise InputError(
                f"{self._name} does not load: {error.seen}", error.expected, error.instead
            ) from error
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # onnxruntime raises a class of its own for every kind of trouble
            raise InputError(
                f"{self._name} does not load ({_reason(error)})", "an ONNX model", "export it again"
            ) from error
        self.image_shape, self.classes = self._ports()

    def _ports(self) -> tuple[tuple[int, int, int], int]:
        """(C, H, W) and K, from the one input and the one output that there may be."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        try:
            names = [port.name for port in (*inputs, *outputs)]
            kinds = [port.type for port in (*inputs, *outputs)]
            shapes = [port.shape for port in (*inputs, *outputs)]
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self._name} with a name that is not UTF-8", "an ONNX model", "export it again"
            ) from error
        if names == [INPUT, OUTPUT] and kinds == [_FLOAT, _FLOAT]:
            image, logits = shapes
            sizes = [*image[1:], *logits[1:]]
            if (len(image), len(logits)) == (4, 2) and all(type(s) is int and s > 0 for s in sizes):
                channels, height, width, classes = sizes
                return (channels, height, width), classes
        raise InputError(
            f"{self._name} with inputs and outputs {names}, {kinds} of shapes {shapes}"[:400],
            f"{INPUT} (batch, C, H, W) -> {OUTPUT} (batch, K), both of float32",
            "use a model that harden exported",
        )

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, K) of images (N, C, H, W) in [0, 1].

        Raises:
            InputError: x has another shape, or the file does not run or gives something else.
        """
        if x.ndim != 4 or x.shape[1:] != self.image_shape:
            seen, expected = f"images of shape {x.shape}", ", ".join(map(str, self.image_shape))
            raise InputError(seen, f"(N, {expected})", "pass a batch as the model was exported for")
        image = np.ascontiguousarray(x, dtype=np.float32)
        try:
            found: Any = self._session.run([OUTPUT], {INPUT: image})[0]
        except Exception as error:  # onnxruntime again: a class for every kind of trouble
            raise InputError(
                f"{self._name} does not run ({_reason(error)})", "an ONNX model", "export it again"
            ) from error
        logits = np.asarray(found, dtype=np.float32)
        if logits.shape != (len(x), self.classes):
            raise InputError(
                f"{self._name} gives {logits.shape} for {len(x)} images",
                f"logits ({len(x)}, {self.classes})",
                "export it again with a free batch size",
            )
        return logits


_FLOAT = "tensor(float)"
_PLACE = re.compile(r"/onnxruntime_src/\S+:\d+ .*\) (?=[A-Z])")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", "an ONNX model", "point to an existing file"
        ) from error


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    # Without the place in the runtime's own source, which is all that would be left of a long line.
    return _PLACE.sub("", lines[0])[:300] if lines else type(error).__name__
