"""Child process with limits of memory and time, in which untrusted graphs are executed.

The cost of a graph can't be determined from the file alone: one node can allocate any amount of memory. The
process ends where it exceeds a limit, and every way in which it ends is reported.
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
    """A child process with limits: one request, one response at a time.

    Args:
        process: with pipes.
        seconds: time limit of each response.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process, self._seconds = process, seconds

    def request(self, content: bytes, most: int) -> bytes:
        """Send a request and return its response, within the time limit.

        Args:
            content: any bytes.
            most: bytes of the response.

        Raises:
            ValueError: the error in the process in one line, or how the process ended.
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
            _send(child.stdin, content)
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
    """Start a process that is killed at the end of the block.

    Args:
        code: that it runs; it ends in `serve`.
        seconds: time limit of each response.
    """
    process = subprocess.Popen(  # noqa: S603  # this interpreter and text of ours; the file goes through a pipe
        # -P: without it `-c` imports from the working folder first, which may be untrusted.
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


def serve(answer: Callable[[bytes], bytes], message: Callable[[Exception], str]) -> None:
    """The child's side: respond to requests from stdin on stdout until there are no more, or one fails.

    Args:
        answer: the response to a request.
        message: of an error, in one line.
    """
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of the runtime is no response
    try:
        while True:
            _send(target, b"+" + answer(_receive(source, 2**62)))
    except EOFError:
        return
    except Exception as error:  # whatever the runtime raises for a file that it cannot execute
        _send(target, b"-" + message(error).encode("utf-8", "replace"))


def limit_memory(extra: int) -> None:
    """Limit this process to `extra` bytes and `PROCESS_BYTES` beyond its address space at the first call."""
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
"""The address space of the process before the model was loaded."""


def _trusted_path() -> list[str]:
    """The module search path of this process, without the working folder."""
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
