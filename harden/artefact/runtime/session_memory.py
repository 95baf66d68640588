"""The memory that onnxruntime's sessions take for tensors, all together, under one limit."""

from __future__ import annotations

import logging
from functools import cache
from typing import Final

import onnxruntime

from harden.system.size_limits import RUNTIME_BYTES

_log = logging.getLogger("harden")

SHARED: Final = ("session.use_env_allocators", "1")
"""What a session is configured with, to take its tensors from the process's allocator."""


@cache
def limit_arena() -> None:
    """Give this process one allocator for the sessions that are `SHARED`, of `RUNTIME_BYTES` at most.

    A graph's tensors may be as large as numbers in the images say: no look at a file tells, and no trial with
    other images. It is for programs that are run on strangers' files, for a process has one such allocator.
    Where onnxruntime makes none, sessions stay without this limit, and a warning says so.
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg({"max_mem": RUNTIME_BYTES.value})
    try:
        onnxruntime.create_and_register_allocator(memory, arena)
    except Exception as error:  # onnxruntime's errors have no class in common but this
        _log.warning("the memory of onnxruntime's tensors is not limited: %s", error)
        return
    _made.append(True)


def is_limited() -> bool:
    """Whether `limit_arena` has made the process's allocator."""
    return bool(_made)


_made: list[bool] = []
