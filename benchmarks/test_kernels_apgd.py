"""Time of what Auto-PGD does between gradients, compiled against its parts. Nothing is asserted about time.

`pytest benchmarks/test_kernels_apgd.py --benchmark-enable --benchmark-only`
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from harden import kernels
from harden.kernels import steps_reference

SHAPES = {"one digit": (1, 1, 8, 8), "CIFAR batch": (128, 3, 32, 32), "ImageNet batch": (16, 3, 224, 224)}


def _composed(
    step: Callable[..., None],
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
    step(moved, x, grad, alpha, eps, low, high)
    if part != 1.0:
        moved.mul_(part).add_(x_adv, alpha=2 * (1 - part)).sub_(before, alpha=1 - part)
        step(moved, x, x, torch.zeros_like(share), eps, low, high)
    before.copy_(x_adv)
    x_adv.copy_(moved)


STEPS: dict[str, dict[str, Callable[..., None]]] = {
    "L-inf": {
        "native": kernels.apgd_linf_step_,
        "composed": partial(_composed, kernels.linf_step_),
        "torch": steps_reference.apgd_linf_step_,
    },
    "L2": {
        "native": kernels.apgd_l2_step_,
        "composed": partial(_composed, kernels.l2_step_),
        "torch": steps_reference.apgd_l2_step_,
    },
}
COPIES: dict[str, Callable[..., None]] = {"native": kernels.copy_rows_, "torch": steps_reference.copy_rows_}


def _prepare(benchmark: BenchmarkFixture, runs: str) -> None:
    if runs == "native" and kernels.backend().name != "native":
        pytest.skip(f"needs the compiled library: {kernels.backend().reason}")
    benchmark.extra_info["build"] = kernels.backend().build
    benchmark.extra_info["threads"] = torch.get_num_threads()


@pytest.mark.parametrize("share", [0.75, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("runs", ["native", "composed", "torch"])
@pytest.mark.parametrize("norm", STEPS)
def test_step_with_momentum(
    benchmark: BenchmarkFixture, norm: str, runs: str, shape: str, share: float
) -> None:
    """Times one step with momentum, a step size for each example."""
    _prepare(benchmark, runs)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(SHAPES[shape], generator=generator)
    grad = torch.randn(x.shape, generator=generator)
    eps = torch.tensor(8 / 255 if norm == "L-inf" else 0.5)
    x_adv, before, part = x.clone(), x.clone(), torch.tensor([share])
    alpha = (eps / 4).expand(len(x)).contiguous()
    benchmark.group = f"{norm} step of Auto-PGD, share {share}, {shape}"
    benchmark(STEPS[norm][runs], x_adv, before, x, grad, alpha, eps, part, 0.0, 1.0)
    delta = (x_adv.double() - x.double()).flatten(1)
    length = delta.abs().amax(1) if norm == "L-inf" else delta.norm(dim=1)
    assert bool((length <= eps.double()).all())


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
