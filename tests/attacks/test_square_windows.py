"""Squares in images: where they lie, and the patterns that fill them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.attacks import Attack, RayS, Square
from harden.attacks.square_windows import bumps, tiles, window
from harden.draws import Draws
from harden.losses import Margin
from harden.threats import L1, L2, Linf, Threat

pytestmark = pytest.mark.usefixtures("rng_untouched")


def test_squares_lie_in_the_image_and_reach_its_edges() -> None:
    shape = torch.Size((4, 2, 5, 7))
    corner = torch.tensor([[0.0, 0.0], [1 - 2**-24, 1 - 2**-24], [0.5, 0.5], [0.99, 0.0]])
    place = window(corner, 3, shape)
    marked = torch.zeros(shape).view(-1).index_fill(0, place.flatten(), 1.0).view(shape)
    for row, (top, left) in enumerate([(0, 0), (2, 4), (1, 2), (2, 0)]):
        expected = torch.zeros(2, 5, 7)
        expected[:, top : top + 3, left : left + 3] = 1
        assert torch.equal(marked[row], expected)


@pytest.mark.parametrize("order", [1, 2])
def test_bumps_have_length_one_and_tiles_leave_no_whole_bump_out(order: int) -> None:
    for side in range(1, 9):
        both = bumps(side, order, torch.device("cpu"))
        length = torch.linalg.vector_norm(both, ord=order, dim=(1, 2))
        torch.testing.assert_close(length, torch.ones(2))
        assert torch.equal(both[0].T, both[1])
        uniform = torch.rand(2, 3 * (17 // side) ** 2, generator=torch.Generator().manual_seed(side))
        filled = tiles(uniform, side, order, torch.Size((2, 2, 17, 17)))
        assert int((filled != 0).sum()) == 4 * ((17 // side) * side) ** 2
    # By hand: rows of 1 x 3, each 1 + 1/2^a in its middle and 1/2^a beside it.
    row = torch.tensor([0.0625, 1.0625, 0.0625] if order == 1 else [0.25, 1.25, 0.25])
    torch.testing.assert_close(
        bumps(3, order, torch.device("cpu"))[0, 0] / row, torch.full((3,), 1.0) * _scale(order)
    )


def _scale(order: int) -> float:
    """Each half has half of the pattern's length; in L2, of its square."""
    row = torch.tensor([0.0625, 1.0625, 0.0625] if order == 1 else [0.25, 1.25, 0.25])
    return float(0.5 ** (1 / order)) / float(torch.linalg.vector_norm(row, ord=order))


@pytest.mark.parametrize("attack", [Square(queries=9), RayS(queries=30)], ids=["square", "rays"])
@pytest.mark.parametrize("threat", [Linf("1/10"), L2("1"), L1(6)], ids=repr)
def test_what_the_caller_has_switched_on_changes_nothing(
    attack: Attack, threat: Threat, images: Tensor, labels: Tensor
) -> None:
    def classify(x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4]

    loss, draws = Margin(classify, labels), Draws(0, torch.arange(16))
    expected = attack(loss, images, threat, draws)
    bumps.cache_clear()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.inference_mode():
            inside = attack(loss, images, threat, draws)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.equal(inside, expected)
    assert torch.equal(attack(loss, images, threat, draws), expected)
