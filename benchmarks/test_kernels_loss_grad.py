"""Time of a loss, its verdict and its gradient from logits, in one operation and by autograd.

`pytest benchmarks/test_kernels_loss_grad.py --benchmark-enable --benchmark-only`; time is not asserted.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn import functional

from harden import kernels
from harden.kernels.loss_grad import LossGrad, cross_entropy_grad_, dlr_grad_, margin_grad_
from harden.losses import dlr, errs, margin

Filling = Callable[[LossGrad, Tensor, Tensor], None]
Formula = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, tuple[Filling, Formula]] = {
    "cross-entropy": (
        cross_entropy_grad_,
        lambda logits, y: functional.cross_entropy(logits, y, reduction="none"),
    ),
    "margin": (margin_grad_, margin),
    "dlr": (dlr_grad_, dlr),
}


@pytest.mark.parametrize("shape", [(8, 10), (128, 10), (128, 1000)])
@pytest.mark.parametrize("runs", ["one operation", "autograd"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_grad(benchmark: BenchmarkFixture, name: str, runs: str, shape: tuple[int, int]) -> None:
    """Times of the loss and its gradient on logits, as at every step of an attack."""
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y, out = torch.arange(shape[0]) % shape[1], LossGrad.like(logits)
    fill, formula = LOSSES[name]

    def in_one() -> Tensor:
        fill(out, logits, y)
        return out.dlogits

    def by_autograd() -> Tensor:
        value = formula(logits, y)
        errs(logits.detach(), y)
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        return gradient

    benchmark.group = f"{name}, {shape[0]} x {shape[1]}"
    benchmark.extra_info["backend"] = kernels.backend().name
    benchmark.extra_info["threads"] = torch.get_num_threads()
    found = benchmark(in_one if runs == "one operation" else by_autograd)
    torch.testing.assert_close(found, by_autograd(), rtol=1e-4, atol=1e-5)
