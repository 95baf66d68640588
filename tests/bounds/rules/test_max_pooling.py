"""Linear bounds of maxima over windows: sound, carried back as windows and as whole maps alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harden.bounds.crown.coefficients import DenseCoefficients, WindowCoefficients
from harden.bounds.rules.max_pooling import Pooling
from harden.graph.operators.pooling import MaxPool
from tests.bounds.rules.derived_rules import LIKE, normal

SIZE = (2, 5, 6)
OPERATIONS = (
    MaxPool((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
    MaxPool((3, 3), (2, 1), (1, 1, 1, 1), (1, 1)),
    MaxPool((2, 2), (1, 2), (0, 1, 1, 0), (2, 2)),
    MaxPool((3, 2), (2, 2), (0, 0, 0, 0), (1, 1), ceil_mode=True),
)


def boxes() -> tuple[Tensor, Tensor]:
    """Of two images, the second with many lower ends of 0, as after a rectifier."""
    lower = normal(2, *SIZE)
    upper = lower + normal(2, *SIZE, seed=1).abs()
    lower[1].clamp_(min=0)
    upper[1].clamp_(min=0)
    return lower, upper


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_the_bounds_hold_for_every_point_of_the_box(operation: MaxPool) -> None:
    lower, upper = boxes()
    size = tuple(operation(lower).shape[1:])
    rule = Pooling.of(operation, SIZE, size, LIKE)
    low, high = rule.interval(lower, upper)
    torch.testing.assert_close(low, operation(lower))
    torch.testing.assert_close(high, operation(upper))
    bounds = rule.winners(lower, upper)
    coefficients, image = normal(20, *size, seed=2), torch.arange(20) % 2
    carried, added = bounds.carried_back(DenseCoefficients(coefficients), image)
    shares = torch.rand(300, 1, *SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x = (lower + shares * (upper - lower)).flatten(0, 1)
    value = operation(x).reshape(300, 2, *size)[:, image]
    linear = (carried.whole().each * x.reshape(300, 2, *SIZE)[:, image]).flatten(2).sum(2) + added
    assert bool(((coefficients * value).flatten(2).sum(2) >= linear - 1e-12).all())


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_a_window_is_carried_back_as_the_whole_map_is(operation: MaxPool) -> None:
    lower, upper = boxes()
    size = tuple(operation(lower).shape[1:])
    bounds = Pooling.of(operation, SIZE, size, LIKE).winners(lower, upper)
    places = torch.arange(torch.Size(size).numel())
    for sign in (1, -1):
        unit = WindowCoefficients.unit(places, size, LIKE)
        window, image = unit.with_(sign * unit.each), places % 2
        carried, added = bounds.carried_back(window, image)
        whole, more = bounds.carried_back(window.whole(), image)
        assert isinstance(carried, WindowCoefficients)
        torch.testing.assert_close(carried.whole().each, whole.whole().each)
        torch.testing.assert_close(added, more)


def test_a_maximum_that_is_certain_is_its_input() -> None:
    """One value above all others of its window bounds it on both sides, without an offset."""
    lower = torch.zeros(1, 1, 1, 4, dtype=torch.float64)
    lower[0, 0, 0, 1] = 2.0
    rule = Pooling.of(MaxPool((1, 2), (1, 2), (0, 0, 0, 0), (1, 1)), (1, 1, 4), (1, 1, 2), LIKE)
    bounds = rule.winners(lower, lower + 1)
    assert bounds.certain.tolist() == [[[True, False]]]
    assert bounds.places.tolist() == [[[1, 2]]]
    carried, added = bounds.carried_back(
        DenseCoefficients(torch.tensor([[[[-1.0, -1.0]]]]).double()), torch.tensor([0])
    )
    assert carried.whole().each.flatten().tolist() == [0.0, -1.0, 0.0, 0.0]
    assert added.tolist() == [-1.0]


def test_padding_is_never_the_maximum() -> None:
    rule = Pooling.of(MaxPool((3,), (3,), (1, 1), (1,)), (1, 4), (1, 2), LIKE)
    assert rule.windows.tolist() == [[-1, 0, 1], [2, 3, -1]]
    x = torch.tensor([[[-5.0, -6.0, -7.0, -8.0]]]).double()
    assert rule.interval(x, x)[0].tolist() == functional.max_pool1d(x, 3, 3, 1).tolist()
    assert rule.frame is None
