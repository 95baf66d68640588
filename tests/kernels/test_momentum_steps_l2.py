"""The L2 step of Auto-PGD: equal in both backends and to its parts, exact in rational numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from harden import kernels
from harden.kernels import steps_reference
from tests.kernels.drawing import copied, in_l2_ball, per_example, same_bits
from tests.kernels.heavy import Case, HeavyStep, cases

Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float, float], None]

both_backends = pytest.mark.parametrize(
    "step", [kernels.apgd_l2_step_, steps_reference.apgd_l2_step_], ids=["door", "torch"]
)
PARTS: dict[HeavyStep, Step] = {
    kernels.apgd_l2_step_: kernels.l2_step_,
    steps_reference.apgd_l2_step_: steps_reference.l2_step_,
}


def _close(one: Tensor, other: Tensor, case: Case) -> bool:
    """Within 1e-6 eps and one unit in the last place of the largest number that is mixed."""
    mixed = torch.stack([case.x_adv.abs(), case.before.abs(), case.x.abs(), other.abs()])
    largest = mixed.nan_to_num(nan=0.0, posinf=0.0).amax(0)
    ulp = torch.finfo(torch.float32).eps * largest
    return bool(((one - other).abs() <= 1e-6 * per_example(case.eps, case.x) + ulp + 1e-12).all())


@pytest.mark.usefixtures("native")
@settings(max_examples=400)
@given(case=cases(per_channel=False, wild=False))
def test_both_backends_agree(case: Case) -> None:
    (one, last), (other, before) = case.run(kernels.apgd_l2_step_), case.run(steps_reference.apgd_l2_step_)
    assert _close(one, other, case)
    assert same_bits(last, before)


@pytest.mark.usefixtures("native")
@settings(max_examples=200)
@given(case=cases(per_channel=False))
def test_both_backends_agree_on_what_is_not_a_number_too(case: Case) -> None:
    """A share outside of [0, 1] may let a difference in z grow, but not change what returns to x."""
    (one, last), (other, before) = case.run(kernels.apgd_l2_step_), case.run(steps_reference.apgd_l2_step_)
    assert same_bits(last, before)
    assert torch.equal(one.isfinite(), other.isfinite())
    if 0 <= float(case.share) <= 1:
        assert _close(one, other, case)


@both_backends
@settings(max_examples=200)
@given(case=cases(per_channel=False))
def test_it_is_a_step_then_a_mixture_then_a_projection(step: HeavyStep, case: Case) -> None:
    """What it stands for, in the operations of its backend that it replaces, bit for bit."""
    z = copied(case.x_adv)
    PARTS[step](z, case.x, case.grad, case.alpha, case.eps, case.low, case.high)
    share = case.share.reshape(())
    if float(share) != 1.0:
        z.copy_(share * z + 2 * (1 - share) * case.x_adv - (1 - share) * case.before)
        PARTS[step](z, case.x, torch.zeros_like(z), torch.zeros(1), case.eps, case.low, case.high)
    x_adv, before = case.run(step)
    assert same_bits(x_adv, z)
    assert same_bits(before, case.x_adv)


@both_backends
@settings(max_examples=200)
@given(case=cases(per_channel=False))
def test_ball_and_box_hold_as_rational_numbers(step: HeavyStep, case: Case) -> None:
    x_adv, _ = case.run(step)
    assert bool(((x_adv >= case.low) & (x_adv <= case.high)).all())
    assert in_l2_ball(x_adv, case.x, case.eps)


@both_backends
@settings(max_examples=200)
@given(case=cases(per_channel=False))
def test_projecting_the_result_changes_no_bit(step: HeavyStep, case: Case) -> None:
    once, _ = case.run(step)
    again = copied(once)
    PARTS[step](again, case.x, torch.zeros_like(again), torch.zeros(1), case.eps, case.low, case.high)
    assert same_bits(again, once)


@both_backends
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_examples_hold_as_rational_numbers_and_use_the_radius(
    step: HeavyStep, dtype: torch.dtype
) -> None:
    """Longer than the rows in which the compiled step goes, with a rest of no whole lane."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 41, 37, generator=generator) * 0.5 + 0.25
    grad = torch.randn(x.shape, generator=generator).to(dtype)
    eps, share = torch.tensor([0.5, 3.0]), torch.tensor([0.75])
    x_adv, before = x.clone(), x.clone()
    for _ in range(4):
        step(x_adv, before, x, grad, eps, eps, share, -10.0, 10.0)
        assert in_l2_ball(x_adv, x, eps)
    lengths = (x_adv.double() - x.double()).flatten(1).norm(dim=1)
    roundings = math.sqrt(x[0].numel()) * 2**-24
    assert bool((lengths >= eps.double() * (1 - 2**-20) - roundings).all())


@both_backends
def test_a_step_by_hand(step: HeavyStep) -> None:
    x = torch.zeros(1, 2)
    x_adv, before = torch.tensor([[0.5, 0.0]]), torch.tensor([[0.25, 0.25]])
    alpha, eps = torch.tensor([0.25]), torch.tensor(2.0)
    step(x_adv, before, x, torch.tensor([[0.0, -3.0]]), alpha, eps, torch.tensor([0.75]), -1.0, 1.0)
    # z = 0.5, -0.25; 0.75 z + 0.5 x_adv - 0.25 before = 0.5625, -0.25: inside the ball.
    assert x_adv.tolist() == [[0.5625, -0.25]]
    assert before.tolist() == [[0.5, 0.0]]
    step(x_adv, before, x, torch.zeros(1, 2), alpha, torch.tensor(0.5), torch.tensor([0.0]), -1.0, 1.0)
    # Without a gradient 2 x_adv - before = 0.625, -0.5, shrunk to a length of 0.5.
    expected = torch.tensor([[0.625, -0.5]]) * 0.5 / math.hypot(0.625, 0.5)
    torch.testing.assert_close(x_adv, expected, rtol=1e-6, atol=0)


@pytest.mark.cuda
@settings(max_examples=100)
@given(case=cases(per_channel=False, wild=False))
def test_it_is_equal_and_exact_on_cuda(cuda: torch.device, case: Case) -> None:
    (one, last), (other, before) = case.on(cuda).run(kernels.apgd_l2_step_), case.run(kernels.apgd_l2_step_)
    assert _close(one.cpu(), other, case)
    assert same_bits(last.cpu(), before)
    assert in_l2_ball(one.cpu(), case.x, case.eps)
