"""A context with torch's default modes, independent of the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def plain() -> Iterator[None]:
    """Compute as torch does when it starts: gradients on, float32, no autocast, new tensors on the CPU.

    Guarantee: inside, results do not depend on the caller's `no_grad`, `inference_mode`, `autocast`,
    `set_default_dtype` or `set_default_device`; afterwards all of them are as before.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            # Only then: it intercepts every call.
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
