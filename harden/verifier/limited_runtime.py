"""Execution of an untrusted file in onnxruntime, in a process with limits of memory and time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from harden.certificate.untrusted.limited_process import child, limit_memory
from harden.certificate.untrusted.limited_process import serve as serve_questions
from harden.certificate.untrusted.onnx_limits import check_runnable
from harden.errors import HardenError

Images = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]
Run = Callable[[Images], Logits]

CHUNK_BYTES: Final = 4 * 2**20
ANSWER_SECONDS: Final = 300.0
"""Longer than loading a file, or one batch of CHUNK_BYTES, takes on a slow machine."""

_MODELS, _BATCHES = 8, 16
"""Memory of the process beyond `size_limits.PROCESS_BYTES`, in multiples of the file's and a batch's size."""
_CHILD: Final = "from harden.verifier.limited_runtime import serve; serve()"


@contextmanager
def open_in_process(model: bytes) -> Iterator[Run]:
    """Opens a model in this process, for callers that have set limits already.

    Raises:
        ValueError: its inputs and outputs are not `image` and `logits`; the runtime raises its own.
    """
    yield _open(model, threads=1)


@contextmanager
def open_in_child(model: bytes) -> Iterator[Run]:
    """Opens a model in a child process; the returned function runs it on one batch.

    Raises:
        ValueError: the error in the process in one line, or how the process ended.
    """
    with child(_CHILD, ANSWER_SECONDS) as process:
        process.request(model, 0)
        yield lambda images: _loaded(process.request(_saved(images), 2**31))


def serve() -> None:
    """The child's side of `open_in_child`: reads a model, then batches, from stdin; responds on stdout."""
    opened: list[Run] = []
    sizes: list[int] = []

    def answer(request: bytes) -> bytes:
        if not opened:
            sizes.append(len(request))
            limit_memory(_MODELS * len(request) + _BATCHES * CHUNK_BYTES)
            opened.append(_open(request, threads=0))
            return b""
        images = _loaded(request)
        limit_memory(_MODELS * sizes[0] + _BATCHES * max(CHUNK_BYTES, images.nbytes))
        return _saved(opened[0](images))

    serve_questions(answer, first_line)


def first_line(error: Exception) -> str:
    """The message of an error, in one line."""
    if isinstance(error, HardenError):
        return error.seen
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _open(model: bytes, threads: int) -> Run:
    check_runnable(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # 0: one per core
    options.log_severity_level = 4  # errors are raised, and reported once, by harden
    session: Any = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [(i.name, i.type) for i in inputs] != [("image", "tensor(float)")]:
        raise ValueError(f"inputs are {[(i.name, i.type) for i in inputs]}, expected one float32 'image'")
    if [o.name for o in outputs] != ["logits"]:
        raise ValueError(f"outputs are {[o.name for o in outputs]}, expected one, 'logits'")
    image, logits = inputs[0].shape, outputs[0].shape
    sizes = [*image[1:], *logits[1:]]
    if (len(image), len(logits)) != (4, 2) or not all(type(size) is int for size in sizes):
        raise ValueError(f"shapes are {image} and {logits}, expected (batch, C, H, W) and (batch, K)")

    def run(images: Images) -> Logits:
        found: Logits = session.run(["logits"], {"image": images})[0]
        return found

    return run


def _saved(array: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def _loaded(content: bytes) -> Any:
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
