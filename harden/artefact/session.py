"""An ONNX file as onnxruntime executes it: what decides every claim."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from harden.errors import InputError

INPUT, OUTPUT = "image", "logits"


@final
class Session:
    """Runs an ONNX graph `image` (batch, C, H, W) -> `logits` (batch, K) in float32 on the CPU.

    Args:
        model: the file, or its bytes.
        threads: of each operator; 1 by default, so that a result does not depend on the machine's cores.

    Raises:
        InputError: it is no such graph.
    """

    def __init__(self, model: str | Path | bytes, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        name = "the graph" if isinstance(model, bytes) else str(model)
        content = model if isinstance(model, bytes) else str(model)
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a class of its own for every kind of trouble
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{name} does not load ({reason})", "an ONNX model", "export it again"
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        names = [port.name for port in (*inputs, *outputs)]
        if names != [INPUT, OUTPUT] or len(inputs[0].shape) != 4:
            seen = f"{name} with inputs and outputs {names}"
            raise InputError(
                seen, f"{INPUT} (batch, C, H, W) -> {OUTPUT}", "use a model that harden exported"
            )
        self.image_shape: tuple[int, int, int] = tuple(inputs[0].shape[1:])
        self.classes: int = outputs[0].shape[1]

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, K) of images (N, C, H, W) in [0, 1].

        Raises:
            InputError: x has another shape.
        """
        if x.ndim != 4 or x.shape[1:] != self.image_shape:
            seen, expected = f"images of shape {x.shape}", ", ".join(map(str, self.image_shape))
            raise InputError(seen, f"(N, {expected})", "pass a batch as the model was exported for")
        image = np.ascontiguousarray(x, dtype=np.float32)
        return np.asarray(self._session.run([OUTPUT], {INPUT: image})[0], dtype=np.float32)
