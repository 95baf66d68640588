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
from harden.kernels import l1_steps_reference, steps_reference


def _sparse(step: Callable[..., None]) -> Callable[..., None]:
    """A step of the L1 ball that moves 31 entries, as a step of the others is called."""
    k = torch.tensor(31.0)
    return lambda x_adv, x, grad, alpha, eps, low, high: step(x_adv, x, grad, alpha, eps, k, low, high)


STEPS: dict[str, dict[str, Callable[..., None]]] = {
    "linf": {"native": kernels.linf_step_, "torch": steps_reference.linf_step_},
    "l2": {"native": kernels.l2_step_, "torch": steps_reference.l2_step_},
    "l1": {"native": _sparse(kernels.l1_step_), "torch": _sparse(l1_steps_reference.l1_step_)},
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


def _sorted_threshold(out: Tensor, values: Tensor, k: Tensor) -> None:
    """The usual way in torch: sort everything."""
    ordered = values.flatten(1).abs().sort(dim=1, descending=True).values
    out.copy_(ordered[:, int(k) - 1])


def _sorted_projection(x_adv: Tensor, x: Tensor, eps: Tensor, low: float, high: float) -> None:
    """The usual way in torch, in float32: sort the places where the slope of the length changes, and sum."""
    delta, clean = (x_adv - x).flatten(1), x.flatten(1)
    room = torch.where(delta > 0, high - clean, clean - low)
    size = delta.abs()
    places, order = torch.cat([size, (size - room).clamp_min(0)], dim=1).sort(dim=1, descending=True)
    # A place starts or ends the part in which an element moves with the cut.
    slope = torch.where(order < size.shape[1], 1.0, -1.0).cumsum(dim=1)
    gaps = torch.cat(
        [torch.zeros_like(places[:, :1]), (places[:, :-1] - places[:, 1:]) * slope[:, :-1]], dim=1
    )
    length = gaps.cumsum(dim=1)
    last = (
        torch.searchsorted(length, eps.expand(len(x), 1).contiguous(), right=True).clamp(max=places.shape[1])
        - 1
    )
    cut = places.gather(1, last) - (eps - length.gather(1, last)) / slope.gather(1, last).clamp_min(1)
    cut = torch.where(torch.minimum(size, room).sum(dim=1, keepdim=True) <= eps, 0.0, cut)
    x_adv.copy_((clean + delta.sign() * torch.minimum((size - cut).clamp_min(0), room)).view(x.shape))


PROJECTIONS: dict[str, Callable[..., None]] = {
    "native": kernels.l1_project_,
    "torch": l1_steps_reference.l1_project_,
    "torch, by sorting": _sorted_projection,
}
THRESHOLDS: dict[str, Callable[..., None]] = {
    "native": kernels.topk_threshold,
    "torch": l1_steps_reference.topk_threshold,
    "torch, by sorting": _sorted_threshold,
}
CIFAR = (128, 3, 32, 32)


@pytest.mark.parametrize("spread", [0.05, 1.0])
@pytest.mark.parametrize("runs", PROJECTIONS)
def test_l1_projection(benchmark: BenchmarkFixture, runs: str, spread: float) -> None:
    """Times the projection of points outside the ball of 12, their copy included."""
    if runs == "native" and kernels.backend().name != "native":
        pytest.skip(f"needs the compiled library: {kernels.backend().reason}")
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(CIFAR, generator=generator)
    start = x + spread * torch.randn(CIFAR, generator=generator)
    x_adv, eps = start.clone(), torch.tensor(12.0)

    def project() -> None:
        x_adv.copy_(start)
        PROJECTIONS[runs](x_adv, x, eps, 0.0, 1.0)

    benchmark.group = f"L1 projection, spread {spread}"
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark(project)
    length = (x_adv.double() - x.double()).abs().flatten(1).sum(1)
    torch.testing.assert_close(length, torch.full_like(length, 12.0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("k", [31, 614])
@pytest.mark.parametrize("runs", THRESHOLDS)
def test_threshold(benchmark: BenchmarkFixture, runs: str, k: int) -> None:
    """Times the k-th largest magnitude of each gradient, of 3072 entries."""
    if runs == "native" and kernels.backend().name != "native":
        pytest.skip(f"needs the compiled library: {kernels.backend().reason}")
    grad = torch.randn(CIFAR, generator=torch.Generator().manual_seed(0))
    out = torch.empty(len(grad))
    benchmark.group = f"threshold, k = {k}"
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark(THRESHOLDS[runs], out, grad, torch.tensor(float(k)))
    assert bool(((grad.flatten(1).abs() >= out.unsqueeze(1)).sum(1) == k).all())


def _within(x_adv: Tensor, x: Tensor, eps: Tensor) -> bool:
    """Return whether the perturbation is within eps in every pixel, which every norm implies."""
    return bool(((x_adv.double() - x.double()).abs() <= eps.double()).all())
