"""Time of one attack step, compiled against plain torch. Nothing is asserted about time.

`pytest benchmarks/test_kernels.py --benchmark-enable --benchmark-only`
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from harden import kernels
from harden.kernels import reference

STEPS: dict[str, dict[str, Callable[..., None]]] = {
    "linf": {"native": kernels.linf_step_, "torch": reference.linf_step_},
    "l2": {"native": kernels.l2_step_, "torch": reference.l2_step_},
}
SHAPES = {"one pixel": (1, 1, 1, 1), "CIFAR batch": (128, 3, 32, 32), "ImageNet batch": (16, 3, 224, 224)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("runs", ["native", "torch"])
@pytest.mark.parametrize("norm", STEPS)
def test_step(benchmark: BenchmarkFixture, norm: str, runs: str, shape: str) -> None:
    """Times one step on the CPU and checks that it stayed inside the ball."""
    if runs == "native" and kernels.backend().name != "native":
        pytest.skip(f"needs the compiled library: {kernels.backend().reason}")
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(SHAPES[shape], generator=generator)
    grad = torch.randn(x.shape, generator=generator)
    x_adv, alpha, eps = x.clone(), torch.tensor(2 / 255), torch.tensor(8 / 255)
    benchmark.group = f"{norm}, {shape}"
    benchmark.extra_info["build"] = kernels.backend().build
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark(STEPS[norm][runs], x_adv, x, grad, alpha, eps, 0.0, 1.0)
    assert _within(x_adv, x, eps)


def _within(x_adv: Tensor, x: Tensor, eps: Tensor) -> bool:
    """Whether the perturbation is within eps in every pixel, which both norms imply."""
    return bool(((x_adv.double() - x.double()).abs() <= eps.double()).all())
