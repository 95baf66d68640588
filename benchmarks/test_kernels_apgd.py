"""Time of what Auto-PGD does between gradients, compiled against its parts. Nothing is asserted about time.

`pytest benchmarks/test_kernels_apgd.py --benchmark-enable --benchmark-only`
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from harden import kernels
from harden.kernels import reference

SHAPES = {"CIFAR batch": (128, 3, 32, 32), "ImageNet batch": (16, 3, 224, 224)}


def _composed(
    x_adv: Tensor,
    before: Tensor,
    x: Tensor,
    grad: Tensor,
    alpha: Tensor,
    eps: Tensor,
    share: Tensor,
    low: float,
    high: float,
) -> None:
    """The same of a step, torch's arithmetic and a projection, as for threats that offer no more."""
    moved, part = x_adv.clone(), float(share)
    kernels.linf_step_(moved, x, grad, alpha, eps, low, high)
    moved.mul_(part).add_(x_adv, alpha=2 * (1 - part)).sub_(before, alpha=1 - part)
    kernels.linf_step_(moved, x, x, torch.zeros_like(share), eps, low, high)
    before.copy_(x_adv)
    x_adv.copy_(moved)


STEPS: dict[str, Callable[..., None]] = {
    "native": kernels.apgd_linf_step_,
    "composed": _composed,
    "torch": reference.apgd_linf_step_,
}
COPIES: dict[str, Callable[..., None]] = {"native": kernels.copy_rows_, "torch": reference.copy_rows_}


def _prepare(benchmark: BenchmarkFixture, runs: str) -> None:
    if runs == "native" and kernels.backend().name != "native":
        pytest.skip(f"needs the compiled library: {kernels.backend().reason}")
    benchmark.extra_info["build"] = kernels.backend().build
    benchmark.extra_info["threads"] = torch.get_num_threads()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("runs", STEPS)
def test_step_with_momentum(benchmark: BenchmarkFixture, runs: str, shape: str) -> None:
    """Times one step with momentum, a step size for each example."""
    _prepare(benchmark, runs)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(SHAPES[shape], generator=generator)
    grad = torch.randn(x.shape, generator=generator)
    x_adv, before, eps, share = x.clone(), x.clone(), torch.tensor(8 / 255), torch.tensor([0.75])
    alpha = torch.full((len(x),), 2 / 255)
    benchmark.group = f"L-inf step of Auto-PGD, {shape}"
    benchmark(STEPS[runs], x_adv, before, x, grad, alpha, eps, share, 0.0, 1.0)
    assert bool(((x_adv.double() - x.double()).abs() <= eps.double()).all())


@pytest.mark.parametrize("chosen", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("runs", COPIES)
def test_copy_of_rows(benchmark: BenchmarkFixture, runs: str, shape: str, chosen: float) -> None:
    """Times the copy of a share of the examples."""
    _prepare(benchmark, runs)
    target, source = torch.zeros(SHAPES[shape]), torch.ones(SHAPES[shape])
    where = torch.arange(len(target)) < chosen * len(target)
    benchmark.group = f"copy of rows, {chosen:.0%}, {shape}"
    benchmark(COPIES[runs], target, source, where)
    assert bool((target.flatten(1).amin(1) == where.float()).all())
