"""Trial load of an untrusted model and a forward of one image, in a limited process.

onnxruntime computes constants while it loads a file, without limit, and a node of a few bytes can allocate
any amount of memory. So an untrusted file is first loaded in another process, unoptimised and optimised, and
run there on one image.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any, Final

import numpy as np
import onnxruntime

from harden.certificate.optimisation_levels import LEVELS
from harden.certificate.untrusted.limited_process import child, limit_memory
from harden.certificate.untrusted.limited_process import serve as serve_questions
from harden.certificate.untrusted.onnx_limits import check_runnable
from harden.errors import HardenError, InputError
from harden.system.size_limits import PROCESS_BYTES, TRIAL_SECONDS

_MODELS: Final = 8
"""Memory of the process beyond `size_limits.PROCESS_BYTES`, in multiples of the file's size."""
_PIECE: Final = 2**28
"""Bytes of a model per `size_limits.TRIAL_SECONDS`."""
_IMAGES: Final = 1024
"""Likewise in multiples of the size of its image."""
_CHILD: Final = "from harden.certificate.untrusted.trial_load import serve; serve()"
_PLACE: Final = re.compile(r"/onnxruntime_src/\S+:\d+ .*\) (?=[A-Z])")
_MEMORY: Final = re.compile(r"alloc|memory", re.IGNORECASE)
_REMEMBERED: Final = 256

_passed: dict[tuple[str, tuple[int, ...] | None], None] = {}
"""Models that passed in this process; the oldest are dropped."""


def check_affordable(model: bytes, name: str, image_shape: tuple[int, ...] | None = None) -> None:
    """Refuse a file that does not load and run on one image within the limits of memory and time.

    Args:
        model: its bytes.
        name: of the file, for messages.
        image_shape: of one image, for dynamic sizes of the file; without it such a file is only loaded.

    Raises:
        InputError: it does not load, or exceeds `size_limits.PROCESS_BYTES` or `size_limits.TRIAL_SECONDS`.
    """
    known = (hashlib.sha256(model).hexdigest(), image_shape)
    if known in _passed:
        return
    seconds = math.ceil(TRIAL_SECONDS.value * max(1.0, len(model) / _PIECE))
    try:
        with child(_CHILD, seconds) as process:
            process.request(json.dumps(image_shape).encode(), 0)
            process.request(model, 0)
    except ValueError as error:
        raise _refusal(name, str(error), seconds) from error
    while len(_passed) >= _REMEMBERED:
        del _passed[next(iter(_passed))]
    _passed[known] = None


def reason_of(error: Exception) -> str:
    """The message of onnxruntime in one line, without the location in its source."""
    lines = str(error).splitlines()
    return _PLACE.sub("", lines[0])[:300] if lines else type(error).__name__


def serve() -> None:
    """The child's side of `check_affordable`: receives the image's shape, then the model."""
    shapes: list[Any] = []

    def answer(request: bytes) -> bytes:
        if not shapes:
            shapes.append(json.loads(request))
        else:
            _try(request, shapes[0])
        return b""

    serve_questions(answer, lambda error: error.seen if isinstance(error, HardenError) else reason_of(error))


def _try(model: bytes, image_shape: list[int] | None) -> None:
    limit_memory(_MODELS * len(model) + _IMAGES * 4 * int(np.prod(image_shape or [0])))
    check_runnable(model)
    # The optimised graph last: sessions use it, so its error is the one that counts.
    for level in ("disabled", "all"):
        try:
            session = _session(model, level)
            _answer(session, image_shape)
        except Exception as error:  # onnxruntime's errors have no class in common but this
            if level == "all" or _MEMORY.search(str(error)) or isinstance(error, MemoryError):
                raise


def _session(model: bytes, level: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def _answer(session: Any, image_shape: list[int] | None) -> None:
    """Run one image through the session; only failures for lack of memory are raised."""
    ports = session.get_inputs()
    if len(ports) != 1 or ports[0].type != "tensor(float)":
        return
    sizes = list(ports[0].shape)
    given = iter(image_shape or ())
    filled = [size if type(size) is int and size > 0 else None for size in sizes]
    if image_shape is not None and len(image_shape) == len(sizes) - 1:
        filled[1:] = [size or extent for size, extent in zip(filled[1:], given, strict=True)]
    if not filled or None in filled[1:]:
        return
    image = np.zeros([size or 1 for size in filled], dtype=np.float32)
    try:
        session.run(None, {ports[0].name: image})
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's errors have no class in common but this
        if _MEMORY.search(str(error)):
            raise


def _refusal(name: str, reason: str, seconds: int) -> InputError:
    if "the runtime's process ended" in reason or _MEMORY.search(reason):
        return InputError(
            f"{name} does not load and answer one image in a limited process ({reason})",
            f"a model that does within {PROCESS_BYTES.value:,} bytes beyond {_MODELS} times its own, "
            f"and {seconds} s",
            f"set {PROCESS_BYTES.variable} and {TRIAL_SECONDS.variable} to more if you trust the file",
        )
    return InputError(f"{name} does not load ({reason})", "an ONNX model", "export it again")
