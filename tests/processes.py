"""Programs that run as several processes, as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number: int = taken.getsockname()[1]
        return number


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """The environment of one of several processes."""
    own = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1, "PYTHONPATH": ROOT,
        "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    return {**os.environ, **{name: str(value) for name, value in own.items()}}


def started(
    words: Sequence[str], size: int, cwd: Path | Sequence[Path] | None = None
) -> list[subprocess.Popen[str]]:
    """Start `python WORDS` as several processes, in one folder or in one each."""
    port = free_port()
    places = [cwd] * size if cwd is None or isinstance(cwd, Path) else cwd
    return [
        subprocess.Popen(
            [sys.executable, *words],
            env=environment(rank, size, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=places[rank],
        )
        for rank in range(size)
    ]


def ended(running: Sequence[subprocess.Popen[str]], seconds: float = 300.0) -> list[tuple[int, str, str]]:
    """Wait for processes, and give the code, output and errors of each; all are killed once time is up."""
    try:
        said = [each.communicate(timeout=seconds) for each in running]
    finally:
        for each in running:
            if each.poll() is None:
                each.kill()
                each.wait()
    return [(each.returncode, *texts) for each, texts in zip(running, said, strict=True)]
