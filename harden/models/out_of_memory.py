"""Recognition of errors of exhausted memory."""

from __future__ import annotations

from typing import Final

import torch

_NO_MEMORY: Final = ("can't allocate memory", "not enough memory", "ALLOC_FAILED", "out of memory")


def ran_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports exhausted memory, on CPU or on a device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
