"""The L1 operations in plain torch: hand-computed steps, and the projection by bisection in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harden.kernels.l1_steps_reference import kth_largest, l1_project_, l1_step_, magnitudes, topk_threshold


def nearest(y: Tensor, x: Tensor, eps: float, low: float, high: float) -> Tensor:
    """The nearest point of ball and box in float64: the cut of all distances is found by bisection."""
    delta = y.double() - x.double()
    room = torch.where(delta > 0, high - x.double(), x.double() - low)
    least, most = torch.zeros(len(x), 1, dtype=torch.float64), delta.abs().amax(1, keepdim=True)

    def clipped(cut: Tensor) -> Tensor:
        return torch.minimum((delta.abs() - cut).clamp_min(0.0), room)

    for _ in range(200):
        cut = (least + most) / 2
        beyond = clipped(cut).sum(1, keepdim=True) > eps
        least, most = torch.where(beyond, cut, least), torch.where(beyond, most, cut)
    cut = torch.where(clipped(torch.zeros_like(most)).sum(1, keepdim=True) > eps, most, 0.0)
    return x.double() + delta.sign() * clipped(cut)


@pytest.mark.parametrize("eps", [0.01, 1.0, 7.5, 100.0])
@pytest.mark.parametrize("box", [(0.0, 1.0), (-9.0, 9.0)])
def test_the_projection_is_the_nearest_point(eps: float, box: tuple[float, float]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(12, 40, generator=generator)
    y = x + torch.randn(12, 40, generator=generator)
    found = y.clone()
    l1_project_(found, x, torch.tensor(eps), *box)
    torch.testing.assert_close(found.double(), nearest(y, x, eps, *box), rtol=2e-7, atol=1e-6 * eps)
    assert bool(((found.double() - x.double()).abs().sum(1) <= eps).all())
    again = found.clone()
    l1_project_(again, x, torch.tensor(eps), *box)
    assert torch.equal(again, found)


def test_a_step_moves_the_largest_movable_entries_by_equal_shares() -> None:
    x = torch.tensor([[0.5, 0.5, 1.0, 0.0, 0.5], [0.5] * 5])
    grad = torch.tensor([[1.0, -3.0, 9.0, -9.0, 2.0], [0.0, math.nan, -1.0, 1.0, 1.0]])
    x_adv = x.clone()
    alpha, eps, k = torch.tensor([0.25, 0.375]), torch.tensor(1.0), torch.tensor([2.0, 1.0])
    l1_step_(x_adv, x, grad, alpha, eps, k, 0.0, 1.0)
    # Entries 2 and 3 of the first are at the edge; in the second, three tie.
    expected = [[0.0, -0.125, 0.0, 0.0, 0.125], [0.0, 0.0, -0.125, 0.125, 0.125]]
    assert (x_adv - x).tolist() == expected


def test_thresholds_are_of_magnitudes_and_k_is_limited() -> None:
    values = torch.tensor([[3.0, -7.0, math.nan, -1.0]])
    assert magnitudes(values).tolist() == [[3.0, 7.0, 0.0, 1.0]]
    for k, expected in ((-1.0, 7.0), (1.9, 7.0), (2.0, 3.0), (4.0, 0.0), (99.0, 0.0), (math.nan, 7.0)):
        out = torch.empty(1)
        topk_threshold(out, values, torch.tensor(k))
        assert out.tolist() == [expected]
    rows = torch.tensor([[5.0, 1.0, 3.0], [2.0, 9.0, 4.0]])
    assert kth_largest(rows, torch.tensor([3.0, 2.0])).tolist() == [[1.0], [4.0]]
