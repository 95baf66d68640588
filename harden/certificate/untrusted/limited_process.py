"""A process of its own, with a limit of memory and time, for what a stranger's graph may take of both.

What a graph costs can't be told from the file alone: one node can ask for any amount of memory. The process
ends where it exceeds a limit, and its end, whatever it is, is an answer.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, final

from harden.system.size_limits import PROCESS_BYTES


@final
class LimitedProcess:
    """The other process: one question, one answer at a time.

    Args:
        process: with pipes.
        seconds: for each answer.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process, self._seconds = process, seconds

    def ask(self, question: bytes, most: int) -> bytes:
        """Send a question and wait for its answer, no longer than there are seconds for it.

        Args:
            question: any bytes.
            most: bytes of the answer.

        Raises:
            ValueError: what was wrong there in one line, or how the process ended.
        """
        child, late = self._process, threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(self._seconds, end)
        timer.start()
        try:
            if child.stdin is None or child.stdout is None:
                raise ValueError("the runtime's process has no pipes")
            _send(child.stdin, question)
            answer = _receive(child.stdout, most + 4096)
        except (EOFError, OSError) as error:
            code = child.wait()
            how = f"it gave no answer within {self._seconds:g} s" if late.is_set() else f"exit code {code}"
            raise ValueError(f"the runtime's process ended ({how})") from error
        finally:
            timer.cancel()
        if answer[:1] != b"+":
            raise ValueError(answer[1:].decode("utf-8", "replace"))
        return answer[1:]


@contextmanager
def child(code: str, seconds: float) -> Iterator[LimitedProcess]:
    """Start a process, and end it with the block.

    Args:
        code: what it runs; it ends in `serve`.
        seconds: for each answer.
    """
    process = subprocess.Popen(  # noqa: S603  # this interpreter and text of ours; the file goes through a pipe
        # -P: without it `-c` looks for modules in the working folder first, which may be the stranger's.
        [sys.executable, "-P", *(["-S"] if sys.flags.no_site else []), "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_trusted_path())},
    )
    try:
        yield LimitedProcess(process, seconds)
    finally:
        process.kill()
        process.communicate()


def serve(answer: Callable[[bytes], bytes], told: Callable[[Exception], str]) -> None:
    """The other end: answer questions from stdin on stdout until there are no more, or one fails.

    Args:
        answer: of a question.
        told: what an error says, in one line.
    """
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the runtime prints is no answer
    try:
        while True:
            _send(target, b"+" + answer(_receive(source, 2**62)))
    except EOFError:
        return
    except Exception as error:  # whatever the runtime raises for a file that it cannot execute
        _send(target, b"-" + told(error).encode("utf-8", "replace"))


def limit_memory(extra: int) -> None:
    """Let this process take so many bytes and `PROCESS_BYTES` beyond what it took at the first call."""
    try:
        import resource
        from pathlib import Path

        own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # no Linux: the time alone is limited
        return
    if not _limits:
        _limits.append(own)
    limit, most = _limits[0] + PROCESS_BYTES.value + extra, resource.getrlimit(resource.RLIMIT_AS)[1]
    if most == resource.RLIM_INFINITY or limit < most:
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


_limits: list[int] = []
"""The address space that the process took before the model came."""


def _trusted_path() -> list[str]:
    """Where this process found its modules, but for a working folder that it looks in."""
    here = os.path.realpath(os.curdir)
    installed = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
    return [
        path
        for path in sys.path
        if path and (os.path.realpath(path) != here or os.path.realpath(path) == installed)
    ]


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
