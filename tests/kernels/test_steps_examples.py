"""The two step operations on chosen inputs: what they do where it matters, in both backends."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from harden import kernels
from harden.kernels import steps_reference
from tests.kernels.drawing import rational

Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float, float], None]

both_backends = pytest.mark.parametrize("backend", ["door", "torch"])


def _linf(backend: str) -> Step:
    return kernels.linf_step_ if backend == "door" else steps_reference.linf_step_


def _l2(backend: str) -> Step:
    return kernels.l2_step_ if backend == "door" else steps_reference.l2_step_


@both_backends
def test_large_examples_hold_as_rational_numbers_and_use_the_radius(backend: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 64, 64, generator=generator) * 0.5 + 0.25
    grad = torch.randn(x.shape, generator=generator)
    eps = torch.tensor([0.5, 3.0])
    x_adv = x.clone()
    for _ in range(4):
        _l2(backend)(x_adv, x, grad, eps, eps, -10.0, 10.0)
    for moved, clean, radius in zip(x_adv, x, eps.tolist(), strict=True):
        squares = sum((a - b) ** 2 for a, b in zip(rational(moved), rational(clean), strict=True))
        roundings = math.sqrt(clean.numel()) * 2**-24
        assert (radius * (1 - 2**-20) - roundings) ** 2 <= squares <= Fraction(radius) ** 2


@both_backends
def test_linf_limits_are_the_outermost_inside_the_ball(backend: str) -> None:
    x = torch.rand(1, 500, generator=torch.Generator().manual_seed(1))
    eps = torch.tensor(8 / 255)
    x_adv = x.clone()
    _linf(backend)(x_adv, x, torch.ones_like(x), torch.tensor(1.0), eps, -10.0, 10.0)
    budget = Fraction(eps.item())
    outwards = torch.nextafter(x_adv, torch.full_like(x, math.inf))
    for clean, moved, beyond in zip(rational(x), rational(x_adv), rational(outwards), strict=True):
        assert moved - clean <= budget < beyond - clean


@both_backends
def test_the_box_wins_where_it_and_the_ball_do_not_meet(backend: str) -> None:
    x = torch.tensor([[-1.0, 2.0]])
    for step in (_linf(backend), _l2(backend)):
        x_adv = x.clone()
        step(x_adv, x, torch.ones_like(x), torch.tensor(0.1), torch.tensor(0.1), 0.0, 1.0)
        assert x_adv.tolist() == [[0.0, 1.0]]


@both_backends
def test_what_is_not_a_number_moves_nothing(backend: str) -> None:
    x = torch.full((1, 4), 0.5)
    grad = torch.tensor([[math.nan, math.inf, -math.inf, 0.0]])
    x_adv = torch.tensor([[0.5, 0.5, 0.5, math.nan]])
    alpha, eps = torch.tensor(0.125), torch.tensor(0.25)
    linf, l2 = x_adv.clone(), x_adv.clone()
    _linf(backend)(linf, x, grad, alpha, eps, 0.0, 1.0)
    _l2(backend)(l2, x, grad, alpha, eps, 0.0, 1.0)
    assert linf.tolist() == [[0.5, 0.625, 0.375, 0.5]]
    assert l2.tolist() == [[0.5, 0.5, 0.5, 0.5]]


@both_backends
@pytest.mark.parametrize("eps", [-1.0, math.nan, 0.0])
def test_an_eps_that_allows_nothing_returns_to_the_clean_example(backend: str, eps: float) -> None:
    x = torch.rand(2, 3, generator=torch.Generator().manual_seed(2))
    for step in (_linf(backend), _l2(backend)):
        x_adv = x + 0.1
        step(x_adv, x, torch.ones_like(x), torch.tensor(0.1), torch.tensor(eps), 0.0, 1.0)
        assert torch.equal(x_adv, x)


@both_backends
def test_a_step_along_the_gradient_has_the_step_size(backend: str) -> None:
    x = torch.full((2, 8), 0.5)
    grad = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    linf, l2 = x.clone(), x.clone()
    alpha = torch.tensor([0.125, 0.0625])
    _linf(backend)(linf, x, grad, alpha, torch.tensor(1.0), 0.0, 1.0)
    _l2(backend)(l2, x, grad, alpha, torch.tensor(1.0), 0.0, 1.0)
    assert torch.equal(linf - x, grad.sign() * alpha[:, None])
    torch.testing.assert_close((l2 - x).norm(dim=1), alpha, rtol=1e-5, atol=0.0)


def test_forms_of_alpha_and_eps_mean_what_they_say() -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(3, 2, 5, 5, generator=generator)
    grad = torch.randn(x.shape, generator=generator)
    alpha, per_example, per_channel = (
        torch.tensor(1.0),
        torch.tensor([0.1, 0.2, 0.3]),
        torch.tensor([[0.1, 0.4]]),
    )
    for layout in (torch.contiguous_format, torch.channels_last):
        by_example = x.clone(memory_format=layout)
        kernels.linf_step_(by_example, x, grad, alpha, per_example, 0.0, 1.0)
        by_channel = x.clone(memory_format=layout)
        kernels.linf_step_(by_channel, x, grad, alpha, per_channel, 0.0, 1.0)
        for n in range(3):
            alone = x[n : n + 1].clone()
            kernels.linf_step_(alone, x[n : n + 1], grad[n : n + 1], alpha, per_example[n], 0.0, 1.0)
            assert torch.equal(by_example[n : n + 1], alone)
        for c in range(2):
            alone = x[:, c].clone()
            kernels.linf_step_(alone, x[:, c], grad[:, c], alpha, per_channel[0, c], 0.0, 1.0)
            assert torch.equal(by_channel[:, c], alone)


def test_threads_do_not_change_a_bit() -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(5, 3, 70, 70, generator=generator)
    grad = torch.randn(x.shape, generator=generator)
    alpha, eps, per_channel = torch.tensor(0.5), torch.tensor(0.4), torch.tensor([[0.1, 0.2, 0.3]])
    results: list[list[Tensor]] = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            outcome = [x.clone(), x.clone(memory_format=torch.channels_last), x.clone()]
            kernels.linf_step_(outcome[0], x, grad, alpha, eps, 0.0, 1.0)
            kernels.linf_step_(outcome[1], x, grad, alpha, per_channel, 0.0, 1.0)
            kernels.l2_step_(outcome[2], x, grad, alpha, eps, 0.0, 1.0)
            results.append(outcome)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_nothing_is_recorded_and_a_changed_saved_tensor_is_noticed() -> None:
    x = torch.rand(2, 3, requires_grad=True)
    x_adv = x.detach().clone().requires_grad_()
    squared = (x_adv * x_adv).sum()
    kernels.linf_step_(x_adv, x, torch.ones_like(x), torch.tensor(0.1), torch.tensor(0.1), 0.0, 1.0)
    assert x_adv.grad_fn is None
    assert x_adv.is_leaf
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(squared, x_adv)


def test_inference_tensors_are_stepped() -> None:
    with torch.inference_mode():
        x = torch.full((1, 2), 0.5)
        x_adv = x.clone()
        kernels.linf_step_(x_adv, x, torch.ones_like(x), torch.tensor(0.25), torch.tensor(0.25), 0.0, 1.0)
    assert x_adv.tolist() == [[0.75, 0.75]]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_bfloat16_gradient_steps_as_its_float32_does(layout: torch.memory_format) -> None:
    """All 65,536 numbers of bfloat16, NaN, infinities and subnormals among them."""
    grad = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16).view(4, 4, 64, 64)
    grad = grad.contiguous(memory_format=layout)
    x = torch.rand(grad.shape, generator=torch.Generator().manual_seed(6)).contiguous(memory_format=layout)
    alpha, per_channel = torch.tensor(0.1), torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    for step, eps in (
        (kernels.linf_step_, per_channel),
        (kernels.linf_step_, alpha),
        (kernels.l2_step_, alpha),
    ):
        narrow, wide = x.clone(), x.clone()
        step(narrow, x, grad, alpha, eps, 0.0, 1.0)
        step(wide, x, grad.float(), alpha, eps, 0.0, 1.0)
        assert torch.equal(narrow, wide)
        assert not torch.equal(narrow, x)


@pytest.mark.usefixtures("native")
def test_a_bfloat16_gradient_is_read_without_a_copy() -> None:
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(7))
    x_adv, grad = x.clone(), torch.ones_like(x, dtype=torch.bfloat16)
    with torch.profiler.profile() as profile:
        kernels.linf_step_(x_adv, x, grad, torch.tensor(0.1), torch.tensor(0.1), 0.0, 1.0)
    ran = {event.name for event in profile.events() or ()}
    assert "harden::linf_step_" in ran
    assert not {"aten::copy_", "aten::_to_copy"} & ran


@both_backends
def test_a_gradient_that_is_not_finite_means_the_same_in_both_backends(backend: str) -> None:
    """NaN counts as zero. Infinity has a sign, which L-inf follows, and no length: L2 leaves it out."""
    x = torch.full((1, 3), 0.5)
    for dtype in (torch.float32, torch.bfloat16):
        grad = torch.tensor([[math.nan, -math.inf, 2.0]], dtype=dtype)
        linf, l2 = x.clone(), x.clone()
        _linf(backend)(linf, x, grad, torch.tensor(0.25), torch.tensor(1.0), 0.0, 1.0)
        _l2(backend)(l2, x, grad, torch.tensor(0.25), torch.tensor(1.0), 0.0, 1.0)
        assert linf.tolist() == [[0.5, 0.25, 0.75]]
        assert l2.tolist() == [[0.5, 0.5, 0.75]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_examples_whose_gradient_is_not_finite_are_named(dtype: torch.dtype) -> None:
    grad = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(8)).to(dtype)
    grad[1, 2, 3, 3], grad[2, 0, 0, 0], grad[3, 0, 1, 0] = math.nan, math.inf, -math.inf
    grad[3, 1, 1, 1] = math.inf
    for laid_out in (grad, grad.contiguous(memory_format=torch.channels_last), grad.flatten(1)):
        assert kernels.not_finite(laid_out).tolist() == [False, True, True, True, False]
    assert kernels.not_finite(grad[:, 2, 3, 3]).tolist() == [False, True, False, False, False]
    assert kernels.not_finite(grad[:0]).shape == (0,)
    assert kernels.not_finite(torch.zeros(2, 0)).tolist() == [False, False]
