"""The plain-torch operations against numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import torch

from harden.kernels import steps_reference


def test_sum_error_is_what_rounding_lost() -> None:
    a, b = torch.tensor([1.0, 0.1, 1e8]), torch.tensor([2.0**-30, 0.2, 1.0])
    total = a + b
    lost = steps_reference.sum_error(a, b, total)
    for one, other, rounded, error in zip(a.tolist(), b.tolist(), total.tolist(), lost.tolist(), strict=True):
        assert Fraction(one) + Fraction(other) == Fraction(rounded) + Fraction(error)


def test_linf_limits_are_rounded_inwards() -> None:
    x, eps = torch.tensor([1.0]), torch.tensor([2.0**-26])
    lower, upper = steps_reference.linf_limits(x, eps)
    assert upper.tolist() == [1.0]  # the next number above 1 is 2^-23 away
    assert lower.tolist() == [1.0]  # the next number below 1 is 2^-24 away
    lower, upper = steps_reference.linf_limits(x, torch.tensor([2.0**-23]))
    assert (lower.tolist(), upper.tolist()) == ([1.0 - 2.0**-23], [1.0 + 2.0**-23])


def test_linf_step_follows_the_sign_of_the_gradient() -> None:
    x_adv = torch.tensor([[0.5, 0.5, 0.5]])
    x = x_adv.clone()
    grad = torch.tensor([[3.0, -1e-30, 0.0]])
    steps_reference.linf_step_(x_adv, x, grad, torch.tensor(0.25), torch.tensor(0.125), 0.0, 1.0)
    assert x_adv.tolist() == [[0.625, 0.375, 0.5]]


def test_l2_step_projects_onto_the_sphere() -> None:
    x = torch.tensor([[0.0, 0.0]])
    x_adv = x.clone()
    steps_reference.l2_step_(
        x_adv, x, torch.tensor([[3.0, 4.0]]), torch.tensor(10.0), torch.tensor(1.0), -1.0, 1.0
    )
    torch.testing.assert_close(x_adv, torch.tensor([[0.6, 0.8]]), rtol=1e-6, atol=0.0)
    assert sum(Fraction(value) ** 2 for value in x_adv[0].tolist()) <= 1


def test_values_broadcast_per_example_and_per_channel() -> None:
    like = torch.zeros(2, 3, 4, 4)
    assert steps_reference.broadcastable(torch.ones(1, 1), like).shape == ()
    assert steps_reference.broadcastable(torch.ones(2), like).shape == (2, 1, 1, 1)
    assert steps_reference.broadcastable(torch.ones(1, 3), like).shape == (1, 3, 1, 1)
