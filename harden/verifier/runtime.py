"""Runs the file in onnxruntime, in a process of its own: a stranger's graph may take memory and time, not us.

What a graph costs can't be told from the file alone: one node can ask for any amount of memory. The process
has a limit of both, and its end, whatever it is, is an answer.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from harden.certificate.runnable import check_runnable
from harden.errors import HardenError

Images = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]
Run = Callable[[Images], Logits]

CHUNK_BYTES: Final = 4 * 2**20
ANSWER_SECONDS: Final = 300.0
"""Longer than loading a file, or one batch of CHUNK_BYTES, takes on a slow machine."""

_MEMORY: Final = 3 * 2**29
_MODELS, _BATCHES = 8, 16
"""How many times the file's size, and a batch's, the process may take beyond _MEMORY."""
_CHILD: Final = "from harden.verifier.runtime import serve; serve()"


@contextmanager
def here(model: bytes) -> Iterator[Run]:
    """Opens a model in this process, for who has set limits already.

    Raises:
        ValueError: its inputs and outputs are not `image` and `logits`; the runtime raises its own.
    """
    yield _open(model, threads=1)


@contextmanager
def apart(model: bytes) -> Iterator[Run]:
    """Opens a model in a process of its own; the function that is given sends it one batch.

    Raises:
        ValueError: what was wrong there in one line, or how the process ended.
    """
    child = subprocess.Popen(  # noqa: S603  # this interpreter and text of ours; the file goes through a pipe
        # -P: without it `-c` looks for modules in the working folder first, which may be the stranger's.
        [sys.executable, "-P", *(["-S"] if sys.flags.no_site else []), "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_trusted_path())},
    )
    try:
        _ask(child, model, 0)
        yield lambda images: _loaded(_ask(child, _saved(images), 2**31))
    finally:
        child.kill()
        child.communicate()


def _trusted_path() -> list[str]:
    """Where this process found its modules, but for a working folder that it looks in."""
    here = os.path.realpath(os.curdir)
    installed = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 2))
    return [
        path
        for path in sys.path
        if path and (os.path.realpath(path) != here or os.path.realpath(path) == installed)
    ]


def serve() -> None:
    """The other end of `apart`: reads a model, then batches, from stdin; answers on stdout."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the runtime prints is no answer
    try:
        model = _receive(source, 2**62)
        _limit_memory(_MODELS * len(model) + _BATCHES * CHUNK_BYTES)
        run = _open(model, threads=0)
        _send(target, b"+")
        while True:
            images = _loaded(_receive(source, 2**62))
            _limit_memory(_MODELS * len(model) + _BATCHES * max(CHUNK_BYTES, images.nbytes))
            _send(target, b"+" + _saved(run(images)))
    except EOFError:
        return
    except Exception as error:  # whatever the runtime raises for a file that it cannot execute
        _send(target, b"-" + first_line(error).encode("utf-8", "replace"))


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, HardenError):
        return error.seen
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _open(model: bytes, threads: int) -> Run:
    check_runnable(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # 0: as many as there are cores
    options.log_severity_level = 4  # what is wrong is raised, and said once, by us
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


def _limit_memory(extra: int) -> None:
    try:
        import resource
        from pathlib import Path

        own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # no Linux: the time alone is limited
        return
    if not _limits:
        _limits.append(own)
    limit, most = _limits[0] + _MEMORY + extra, resource.getrlimit(resource.RLIMIT_AS)[1]
    if most == resource.RLIM_INFINITY or limit < most:
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


_limits: list[int] = []
"""The address space that the process took before the model came."""


def _ask(child: subprocess.Popen[bytes], question: bytes, most: int) -> bytes:
    """Sends a question and waits for its answer, no longer than ANSWER_SECONDS."""
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(ANSWER_SECONDS, end)
    timer.start()
    try:
        if child.stdin is None or child.stdout is None:
            raise ValueError("the runtime's process has no pipes")
        _send(child.stdin, question)
        answer = _receive(child.stdout, most + 4096)
    except (EOFError, OSError) as error:
        code = child.wait()
        how = f"it gave no answer within {ANSWER_SECONDS:g} s" if late.is_set() else f"exit code {code}"
        raise ValueError(f"the runtime's process ended ({how})") from error
    finally:
        timer.cancel()
    if answer[:1] != b"+":
        raise ValueError(answer[1:].decode("utf-8", "replace"))
    return answer[1:]


def _send(target: IO[bytes], content: bytes) -> None:
    target.write(struct.pack("<Q", len(content)))
    target.write(content)
    target.flush()


def _receive(source: IO[bytes], most: int) -> bytes:
    (length,) = struct.unpack("<Q", _exactly(source, 8))
    if length > most:
        raise ValueError(f"an answer of {length} bytes")
    return _exactly(source, length)


def _exactly(source: IO[bytes], length: int) -> bytes:
    content = source.read(length)
    if len(content) < length:
        raise EOFError
    return content


def _saved(array: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def _loaded(content: bytes) -> Any:
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
