"""The L1 operations: equal in both backends, exact in rational numbers, nearest by another solution."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harden import kernels
from harden.kernels import l1_steps_reference
from harden.kernels.arguments import box_inwards
from tests.kernels.drawing import (
    BOXES,
    DTYPES,
    LAYOUTS,
    SHAPES,
    bits,
    copied,
    filled,
    float32,
    laid_out,
    per_example,
    rational,
)

Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, float, float], None]
Projection = Callable[[Tensor, Tensor, Tensor, float, float], None]


@dataclass(frozen=True)
class Case:
    x_adv: Tensor
    x: Tensor
    grad: Tensor
    alpha: Tensor
    eps: Tensor
    k: Tensor
    low: float
    high: float

    def step(self, step: Step) -> Tensor:
        """Runs a step on a copy of x_adv that keeps its strides, and returns it."""
        x_adv = copied(self.x_adv)
        step(x_adv, self.x, self.grad, self.alpha, self.eps, self.k, self.low, self.high)
        return x_adv

    def project(self, project: Projection) -> Tensor:
        """The same for the projection alone."""
        x_adv = copied(self.x_adv)
        project(x_adv, self.x, self.eps, self.low, self.high)
        return x_adv

    def inside(self) -> Case:
        """The same in a box that float32 holds."""
        low, high = box_inwards(self.low, self.high)
        return replace(self, low=low, high=high)

    def on(self, device: torch.device) -> Case:
        """Moves the tensors to a device, strides and all."""
        return Case(
            self.x_adv.to(device),
            self.x.to(device),
            self.grad.to(device),
            self.alpha.to(device),
            self.eps.to(device),
            self.k.to(device),
            self.low,
            self.high,
        )

    def per_example(self, result: Tensor) -> list[tuple[Tensor, Tensor, Fraction]]:
        """Of each example with a finite eps: what came out, the clean example, eps as a fraction."""
        eps = self.eps.reshape(-1).expand(len(self.x)).tolist()
        return [
            (moved, clean, Fraction(max(radius, 0.0)))
            for moved, clean, radius in zip(result, self.x, eps, strict=True)
            if math.isfinite(radius)
        ]


@st.composite
def cases(draw: st.DrawFn, *, wild: bool = True) -> Case:
    """Draws arguments: any layout, any form of alpha, eps and k; NaN, infinities, subnormals where `wild`."""
    shape = draw(SHAPES)
    low, high = draw(st.sampled_from(BOXES))
    inner = box_inwards(low, high)
    pixels = st.floats(max(inner[0], -2.0), min(inner[1], 2.0), width=32)
    near = st.floats(-4.0, 4.0, width=32)
    special = st.sampled_from([math.nan, math.inf, -math.inf, 3e38, -3e38, 1e30, 1e-45])
    few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0])

    def tensor(elements: st.SearchStrategy[float], sizes: tuple[int, ...] = shape) -> Tensor:
        return filled(draw, elements, sizes)

    forms = st.sampled_from([(), (1,), (shape[0],)])
    sizes = st.floats(0.0, 2.0, width=32)
    odd = st.one_of(sizes, st.sampled_from([8 / 255, 0.0, 1e-40, -1.0, math.nan, math.inf]).map(float32))
    return Case(
        x_adv=laid_out(tensor(st.one_of(near, pixels, special) if wild else near), draw(LAYOUTS)),
        x=laid_out(tensor(pixels), draw(LAYOUTS)),
        grad=laid_out(tensor(st.one_of(few, st.floats(width=32))), draw(LAYOUTS)).to(draw(DTYPES)),
        alpha=tensor(sizes, draw(forms)),
        eps=tensor(odd if wild else sizes, draw(forms)),
        k=tensor(st.sampled_from([0.0, 1.0, 2.0, 2.9, 7.0, 1e9, math.nan]), draw(forms)),
        low=low,
        high=high,
    )


def _close(one: Tensor, other: Tensor, eps: Tensor) -> bool:
    """Whether two results agree within 1e-6 eps and one unit in the last place."""
    ulp = torch.finfo(torch.float32).eps * other.abs()
    return bool(((one - other).abs() <= 1e-6 * per_example(eps, one) + ulp + 1e-44).all())


both_backends = pytest.mark.parametrize("backend", ["door", "torch"])


def _step(backend: str) -> Step:
    return kernels.l1_step_ if backend == "door" else l1_steps_reference.l1_step_


def _project(backend: str) -> Projection:
    return kernels.l1_project_ if backend == "door" else l1_steps_reference.l1_project_


@pytest.mark.usefixtures("native")
@settings(max_examples=150)
@given(case=cases())
def test_both_backends_step_and_project_alike(case: Case) -> None:
    case = case.inside()
    assert _close(case.step(kernels.l1_step_), case.step(l1_steps_reference.l1_step_), case.eps)
    assert _close(case.project(kernels.l1_project_), case.project(l1_steps_reference.l1_project_), case.eps)


@pytest.mark.usefixtures("native")
@settings(max_examples=150)
@given(case=cases())
def test_the_threshold_is_bit_equal_in_both_backends(case: Case) -> None:
    threshold, expected = torch.full((len(case.x),), -1.0), torch.full((len(case.x),), -1.0)
    kernels.topk_threshold(threshold, case.grad, case.k)
    l1_steps_reference.topk_threshold(expected, case.grad, case.k)
    assert threshold.tolist() == expected.tolist()


@both_backends
@settings(max_examples=100)
@given(case=cases())
def test_results_lie_in_ball_and_box_as_rational_numbers(backend: str, case: Case) -> None:
    case = case.inside()
    for result in (case.step(_step(backend)), case.project(_project(backend))):
        assert bool(((result >= case.low) & (result <= case.high)).all())
        for moved, clean, eps in case.per_example(result.nan_to_num()):
            distances = [abs(a - b) for a, b in zip(rational(moved), rational(clean), strict=True)]
            assert sum(distances, Fraction(0)) <= eps


@both_backends
@settings(max_examples=100)
@given(case=cases())
def test_projecting_again_changes_no_bit(backend: str, case: Case) -> None:
    case = case.inside()
    once = case.project(_project(backend))
    again = replace(case, x_adv=once).project(_project(backend))
    assert torch.equal(bits(again), bits(once))


def _nearest(case: Case, moved: Tensor, clean: Tensor, eps: Fraction) -> list[Fraction]:
    """The nearest point of ball and box, from sorted breakpoints, in rational numbers."""
    y, x = rational(moved), rational(clean)
    low = Fraction(max(case.low, -1e6))
    high = Fraction(min(case.high, 1e6))
    distance = [abs(b - a) for a, b in zip(x, y, strict=True)]
    room = [high - a if b > a else a - low for a, b in zip(x, y, strict=True)]

    def clips(cut: Fraction) -> list[Fraction]:
        return [min(max(far - cut, Fraction(0)), most) for far, most in zip(distance, room, strict=True)]

    cuts = sorted(
        {max(d - r, Fraction(0)) for d, r in zip(distance, room, strict=True)} | {*distance, Fraction(0)}
    )
    sums = [sum(clips(cut), Fraction(0)) for cut in cuts]
    last = next(place for place, total in enumerate(sums) if total <= eps)
    cut = cuts[last]
    if last > 0:
        # Between two breakpoints the sum is a straight line.
        cut -= (eps - sums[last]) / (sums[last - 1] - sums[last]) * (cuts[last] - cuts[last - 1])
    return [a + size if b > a else a - size for a, b, size in zip(x, y, clips(cut), strict=True)]


@both_backends
@settings(max_examples=150)
@given(case=cases(wild=False))
def test_the_projection_is_the_nearest_point(backend: str, case: Case) -> None:
    case = case.inside()
    result = case.project(_project(backend))
    for (moved, clean, eps), start in zip(case.per_example(result), case.x_adv, strict=True):
        expected = _nearest(case, start, clean, eps)
        for found, exact in zip(rational(moved), expected, strict=True):
            assert abs(found - exact) <= eps / 2**20 + abs(exact) / 2**23 + Fraction(2) ** -149


@both_backends
@settings(max_examples=150)
@given(case=cases())
def test_the_step_moves_the_largest_entries_that_can_move(backend: str, case: Case) -> None:
    """In a ball that does not bind: k entries, fewer where the others are zero, more where some tie."""
    x_adv = case.x_adv.nan_to_num().clamp(-4, 4)
    case = replace(case, x_adv=x_adv, eps=torch.tensor(1e30), low=-5.0, high=2.0).inside()
    start = x_adv.clamp_max(2.0)
    result = replace(case, x_adv=start).step(_step(backend))
    gradient = case.grad.to(torch.float32)
    for n in range(len(start)):
        k = case.k.reshape(-1).expand(len(start))[n].item()
        wanted = 1 if not k >= 2 else min(int(min(k, 1e6)), start[n].numel())
        entries = gradient[n].reshape(-1).tolist()
        places = start[n].reshape(-1).tolist()
        sizes = [
            abs(g) if (g > 0 and p < 2) or (g < 0 and p > -5) else 0.0
            for g, p in zip(entries, places, strict=True)
        ]
        cut = sorted(sizes, reverse=True)[wanted - 1] if sizes else 0.0
        chosen = [size >= cut and size > 0 for size in sizes]
        alpha = case.alpha.reshape(-1).expand(len(start))[n].item()
        for found, place, entry, moves in zip(
            result[n].reshape(-1).tolist(), places, entries, chosen, strict=True
        ):
            share = math.copysign(alpha / sum(chosen), entry) if moves else 0.0
            assert found == pytest.approx(min(max(place + share, -5.0), 2.0), rel=1e-6, abs=1e-6)


@pytest.mark.cuda
@settings(max_examples=100)
@given(case=cases())
def test_cuda_agrees_and_is_exact(cuda: torch.device, case: Case) -> None:
    case = case.inside()
    there = case.on(cuda)
    result = there.step(kernels.l1_step_).cpu()
    assert _close(result, case.step(kernels.l1_step_), case.eps)
    assert _close(there.project(kernels.l1_project_).cpu(), case.project(kernels.l1_project_), case.eps)
    for moved, clean, eps in case.per_example(result.nan_to_num()):
        distances = [abs(a - b) for a, b in zip(rational(moved), rational(clean), strict=True)]
        assert sum(distances, Fraction(0)) <= eps
    threshold, expected = torch.zeros(len(case.x), device=cuda), torch.zeros(len(case.x))
    kernels.topk_threshold(threshold, there.grad, there.k)
    kernels.topk_threshold(expected, case.grad, case.k)
    assert threshold.tolist() == expected.tolist()


@pytest.mark.cuda
def test_an_l1_step_is_captured_in_a_cuda_graph(cuda: torch.device) -> None:
    x = torch.rand(4, 3, 8, 8, device=cuda)
    grad, alpha, eps, k = (
        torch.randn_like(x),
        torch.tensor(3.0, device=cuda),
        torch.tensor(2.0, device=cuda),
        torch.tensor(5.0, device=cuda),
    )
    expected = x.clone()
    kernels.l1_step_(expected, x, grad, alpha, eps, k, 0.0, 1.0)
    x_adv = x.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernels.l1_step_(x_adv, x, grad, alpha, eps, k, 0.0, 1.0)
    x_adv.copy_(x)
    graph.replay()
    assert torch.equal(x_adv, expected)
