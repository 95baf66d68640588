"""Time of filling a batch with draws, compiled against plain torch. Nothing is asserted about time.

`pytest benchmarks/test_kernels_draws.py --benchmark-enable --benchmark-only`
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from harden import kernels
from harden.kernels import philox

FILLS: dict[str, dict[str, Callable[[Tensor, Tensor, int], None]]] = {
    "uniform": {
        "native": lambda out, ids, seed: kernels.fill_uniform_(out, seed, ids),
        "torch": philox.fill_uniform_,
    },
    "normal": {
        "native": lambda out, ids, seed: kernels.fill_normal_(out, seed, ids),
        "torch": philox.fill_normal_,
    },
}
SHAPES = {"one number": (1, 1), "CIFAR batch": (128, 3, 32, 32), "ImageNet batch": (16, 3, 224, 224)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("runs", ["native", "torch"])
@pytest.mark.parametrize("kind", FILLS)
def test_fill(benchmark: BenchmarkFixture, kind: str, runs: str, shape: str) -> None:
    """Times one fill on the CPU and checks that every number was written."""
    if runs == "native" and kernels.backend().name != "native":
        pytest.skip(f"needs the compiled library: {kernels.backend().reason}")
    out = torch.full(SHAPES[shape], torch.nan)
    benchmark.group = f"{kind}, {shape}"
    benchmark.extra_info["build"] = kernels.backend().build
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark(FILLS[kind][runs], out, torch.arange(len(out)), 0)
    assert bool(out.isfinite().all())
