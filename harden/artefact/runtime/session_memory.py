"""Common memory limit for the tensors of all onnxruntime sessions."""

from __future__ import annotations

import logging
from functools import cache
from typing import Final

import onnxruntime

from harden.system.size_limits import RUNTIME_BYTES

_log = logging.getLogger("harden")

SHARED: Final = ("session.use_env_allocators", "1")
"""The configuration of a session that takes its tensors from the process's allocator."""


@cache
def limit_arena() -> None:
    """Register one allocator of at most `RUNTIME_BYTES` for the `SHARED` sessions of this process.

    The size of a graph's tensors may depend on pixel values, so neither a check of the file nor a trial with
    other images bounds it. This is for programs that run untrusted files, since a process has one such
    allocator. Where onnxruntime creates none, sessions have no such limit, and a warning is logged.
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg({"max_mem": RUNTIME_BYTES.value})
    try:
        onnxruntime.create_and_register_allocator(memory, arena)
    except Exception as error:  # the classes of onnxruntime's errors have no other base
        _log.warning("the memory of onnxruntime's tensors is not limited: %s", error)
        return
    _made.append(True)


def is_limited() -> bool:
    """Return whether `limit_arena` has registered the process's allocator."""
    return bool(_made)


_made: list[bool] = []
