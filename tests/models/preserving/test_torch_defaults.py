"""Plain modes of torch: results do not depend on the caller's, which are as before afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch

from harden.models.preserving.torch_defaults import plain

MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "device": lambda: torch.device("meta"),
}


def state() -> tuple[object, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_device(),
        torch.get_default_dtype(),
    )


@pytest.mark.parametrize("mode", MODES)
def test_inside_it_is_torch_as_it_starts(mode: str) -> None:
    outside = state()
    with MODES[mode]():
        before = state()
        assert before != outside
        with plain():
            assert state() == (True, False, False, torch.device("cpu"), torch.float32)
            x = torch.ones(2, 2, requires_grad=True)
            product = x @ x
            assert product.dtype == torch.float32
            assert product.requires_grad
            assert not product.is_inference()
        assert state() == before
    assert state() == outside


def test_the_default_type_comes_back_after_an_error_too() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(OSError, match="gone"), plain():
            raise OSError("gone" if torch.zeros(1).dtype == torch.float32 else "another type")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(before)
