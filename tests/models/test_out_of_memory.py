"""Errors of exhausted memory are recognised by type, or as torch words them."""

from __future__ import annotations

import pytest
import torch

from harden.models.out_of_memory import ran_out_of_memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (OSError("not enough memory"), False),
    ],
    ids=str,
)
def test_errors_of_exhausted_memory(error: Exception, expected: bool) -> None:
    assert ran_out_of_memory(error) is expected
