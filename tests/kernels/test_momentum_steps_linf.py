"""The L-inf step of Auto-PGD: equal in both backends and to its parts, exact in rational numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from harden import kernels
from harden.kernels import steps_reference
from tests.kernels.drawing import rational, same_bits
from tests.kernels.heavy import Case, HeavyStep, cases

both_backends = pytest.mark.parametrize(
    "step", [kernels.apgd_linf_step_, steps_reference.apgd_linf_step_], ids=["door", "torch"]
)


@pytest.mark.usefixtures("native")
@settings(max_examples=400)
@given(case=cases(per_channel=True))
def test_both_backends_return_the_same_bits(case: Case) -> None:
    for one, other in zip(
        case.run(kernels.apgd_linf_step_), case.run(steps_reference.apgd_linf_step_), strict=True
    ):
        assert same_bits(one, other)


@both_backends
@settings(max_examples=200)
@given(case=cases(per_channel=True))
def test_it_is_a_step_then_a_mixture_then_a_projection(step: HeavyStep, case: Case) -> None:
    """What it stands for, in the operations it replaces, bit for bit."""
    z = case.x_adv.clone()
    kernels.linf_step_(z, case.x, case.grad, case.alpha, case.eps, case.low, case.high)
    share = case.share.reshape(())
    if float(share) != 1.0:
        z = share * z + 2 * (1 - share) * case.x_adv - (1 - share) * case.before
        kernels.linf_step_(z, case.x, case.x, torch.zeros(1), case.eps, case.low, case.high)
    x_adv, before = case.run(step)
    assert same_bits(x_adv, z)
    assert same_bits(before, case.x_adv)


@both_backends
@settings(max_examples=200)
@given(case=cases(per_channel=True))
def test_ball_and_box_hold_as_rational_numbers(step: HeavyStep, case: Case) -> None:
    x_adv, _ = case.run(step)
    assert bool(((x_adv >= case.low) & (x_adv <= case.high)).all())
    if case.eps.shape == (1, *case.x.shape[1:2]) and case.x.dim() > 1:
        eps = case.eps.reshape(1, -1, *[1] * (case.x.dim() - 2)).expand(case.x.shape)
    else:
        eps = case.eps.reshape(-1, *[1] * (case.x.dim() - 1)).expand(case.x.shape)
    finite = eps.isfinite()
    for moved, clean, radius in zip(
        rational(x_adv[finite]), rational(case.x[finite]), rational(eps[finite]), strict=True
    ):
        assert abs(moved - clean) <= radius


@both_backends
def test_a_step_by_hand(step: HeavyStep) -> None:
    x = torch.full((1, 3), 0.5)
    x_adv, before = torch.tensor([[0.5, 0.5, 0.625]]), torch.tensor([[0.25, 0.75, 0.625]])
    grad = torch.tensor([[1.0, -1.0, 1.0]])
    alpha, eps = torch.tensor([0.125]), torch.tensor(0.1875)
    step(x_adv, before, x, grad, alpha, eps, torch.tensor([0.75]), 0.0, 1.0)
    # z = 0.625, 0.375, 0.6875; 0.75 z + 0.5 x - 0.25 before = 0.65625, 0.34375, 0.671875: inside the ball.
    assert x_adv.tolist() == [[0.65625, 0.34375, 0.671875]]
    assert before.tolist() == [[0.5, 0.5, 0.625]]


@pytest.mark.cuda
@settings(max_examples=100)
@given(case=cases(per_channel=True))
def test_it_is_bit_equal_on_cuda(cuda: torch.device, case: Case) -> None:
    there, here = case.on(cuda).run(kernels.apgd_linf_step_), case.run(kernels.apgd_linf_step_)
    for one, other in zip(there, here, strict=True):
        assert same_bits(one.cpu(), other)
