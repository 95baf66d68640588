"""The two step operations: equal in both backends, exact in rational numbers, whatever the layout."""

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
from harden.kernels import steps_reference
from harden.kernels.arguments import box_inwards
from tests.kernels.drawing import (
    BOXES,
    DTYPES,
    LAYOUTS,
    SHAPES,
    copied,
    filled,
    float32,
    in_l2_ball,
    laid_out,
    per_example,
    rational,
    same_bits,
)

Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float, float], None]


@dataclass(frozen=True)
class Case:
    x_adv: Tensor
    x: Tensor
    grad: Tensor
    alpha: Tensor
    eps: Tensor
    low: float
    high: float

    def run(self, step: Step) -> Tensor:
        """Runs a step on a copy of x_adv that keeps its strides, and returns it."""
        x_adv = copied(self.x_adv)
        step(x_adv, self.x, self.grad, self.alpha, self.eps, self.low, self.high)
        return x_adv

    def on(self, device: torch.device) -> Case:
        """Moves the tensors to a device, strides and all."""
        x_adv, x, grad = self.x_adv.to(device), self.x.to(device), self.grad.to(device)
        return replace(
            self, x_adv=x_adv, x=x, grad=grad, alpha=self.alpha.to(device), eps=self.eps.to(device)
        )

    def per_example(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs each clean example with its eps."""
        return list(zip(self.x, self.eps.reshape(-1).expand(self.x.shape[0]), strict=True))


@st.composite
def cases(draw: st.DrawFn, *, per_channel: bool = False, wild: bool = True) -> Case:
    """Draws arguments: any layout, any form of alpha and eps; NaN, infinities and subnormals where `wild`."""
    shape = draw(SHAPES)
    low, high = draw(st.sampled_from(BOXES))
    inner = box_inwards(low, high)
    pixels = st.floats(max(inner[0], -2.0), min(inner[1], 2.0), width=32)
    near = st.floats(-4.0, 4.0, width=32)
    anything = st.floats(width=32) if wild else near

    def tensor(elements: st.SearchStrategy[float], sizes: tuple[int, ...] = shape) -> Tensor:
        return filled(draw, elements, sizes)

    forms = [(), (1,), (shape[0],)] + ([(1, shape[1])] if per_channel and len(shape) > 1 else [])
    sizes = st.floats(0.0, 2.0, width=32)
    odd = st.one_of(sizes, st.sampled_from([8 / 255, 2 / 255, 0.0, 1e-40, math.inf]).map(float32))
    special = st.sampled_from([math.nan, math.inf, -math.inf])
    return Case(
        x_adv=laid_out(tensor(st.one_of(near, pixels, special) if wild else near), draw(LAYOUTS)),
        x=laid_out(tensor(pixels), draw(LAYOUTS)),
        grad=laid_out(tensor(anything), draw(LAYOUTS)).to(draw(DTYPES)),
        alpha=tensor(sizes, draw(st.sampled_from(forms))),
        eps=tensor(odd if wild else sizes, draw(st.sampled_from(forms))),
        low=low,
        high=high,
    )


def _in_box(x_adv: Tensor, case: Case) -> bool:
    return bool(((x_adv >= case.low) & (x_adv <= case.high)).all())


both_backends = pytest.mark.parametrize("backend", ["door", "torch"])


def _linf(backend: str) -> Step:
    return kernels.linf_step_ if backend == "door" else steps_reference.linf_step_


def _l2(backend: str) -> Step:
    return kernels.l2_step_ if backend == "door" else steps_reference.l2_step_


@pytest.mark.usefixtures("native")
@settings(max_examples=400)
@given(case=cases(per_channel=True))
def test_linf_is_bit_equal_in_both_backends(case: Case) -> None:
    low, high = box_inwards(case.low, case.high)
    expected = case.x_adv.clone()
    steps_reference.linf_step_(expected, case.x, case.grad, case.alpha, case.eps, low, high)
    assert same_bits(case.run(kernels.linf_step_), expected)


@pytest.mark.usefixtures("native")
@settings(max_examples=400)
@given(case=cases())
def test_l2_is_equal_in_both_backends(case: Case) -> None:
    low, high = box_inwards(case.low, case.high)
    expected = case.x_adv.clone()
    steps_reference.l2_step_(expected, case.x, case.grad, case.alpha, case.eps, low, high)
    eps = per_example(case.eps, case.x)
    ulp = torch.finfo(torch.float32).eps * expected.abs()
    assert bool(((case.run(kernels.l2_step_) - expected).abs() <= 1e-6 * eps + ulp + 1e-12).all())


@both_backends
@settings(max_examples=200)
@given(case=cases())
def test_linf_holds_as_rational_numbers(backend: str, case: Case) -> None:
    case = Case(case.x_adv, case.x, case.grad, case.alpha, case.eps, *box_inwards(case.low, case.high))
    result = case.run(_linf(backend))
    assert _in_box(result, case)
    for moved, (clean, eps) in zip(result, case.per_example(), strict=True):
        if math.isfinite(eps):
            distances = [abs(a - b) for a, b in zip(rational(moved), rational(clean), strict=True)]
            assert max(distances, default=Fraction(0)) <= Fraction(float(eps))


@both_backends
@settings(max_examples=200)
@given(case=cases())
def test_l2_holds_as_rational_numbers(backend: str, case: Case) -> None:
    case = Case(case.x_adv, case.x, case.grad, case.alpha, case.eps, *box_inwards(case.low, case.high))
    result = case.run(_l2(backend))
    assert _in_box(result, case)
    assert in_l2_ball(result, case.x, case.eps)


@both_backends
@settings(max_examples=200)
@given(case=cases(wild=False))
def test_projecting_again_changes_nothing(backend: str, case: Case) -> None:
    low, high = box_inwards(case.low, case.high)
    for step in (_linf(backend), _l2(backend)):
        once = case.run(step)
        again = once.clone()
        step(again, case.x, torch.zeros_like(case.x), torch.zeros(()), case.eps, low, high)
        assert torch.equal(again, once)


@pytest.mark.cuda
@settings(max_examples=100)
@given(case=cases(per_channel=True))
def test_linf_is_bit_equal_on_cuda(cuda: torch.device, case: Case) -> None:
    result = case.on(cuda).run(kernels.linf_step_)
    assert same_bits(result.cpu(), case.run(kernels.linf_step_))


@pytest.mark.cuda
@settings(max_examples=100)
@given(case=cases())
def test_l2_is_equal_and_exact_on_cuda(cuda: torch.device, case: Case) -> None:
    case = Case(case.x_adv, case.x, case.grad, case.alpha, case.eps, *box_inwards(case.low, case.high))
    result, expected = case.on(cuda).run(kernels.l2_step_).cpu(), case.run(kernels.l2_step_)
    eps = per_example(case.eps, case.x)
    ulp = torch.finfo(torch.float32).eps * expected.abs()
    assert bool(((result - expected).abs() <= 1e-6 * eps + ulp + 1e-12).all())
    assert in_l2_ball(result, case.x, case.eps)


@pytest.mark.cuda
def test_a_step_is_captured_in_a_cuda_graph(cuda: torch.device) -> None:
    x = torch.rand(4, 3, 8, 8, device=cuda)
    grad, alpha, eps = torch.randn_like(x), torch.tensor(0.1, device=cuda), torch.tensor(0.05, device=cuda)
    expected = x.clone()
    kernels.linf_step_(expected, x, grad, alpha, eps, 0.0, 1.0)
    x_adv = x.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernels.linf_step_(x_adv, x, grad, alpha, eps, 0.0, 1.0)
    x_adv.copy_(x)
    graph.replay()
    assert torch.equal(x_adv, expected)
