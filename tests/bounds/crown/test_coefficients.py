"""Coefficients of windows: the same bounds and sums as coefficients of whole maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harden.bounds import Program, Region
from harden.bounds.crown.coefficients import (
    DenseCoefficients,
    WindowCoefficients,
    add_coefficients,
    dot,
    per_image,
)
from harden.bounds.crown.intermediate_bounds import relax
from harden.graph import read
from harden.threats import L1, L2, Linf
from tests.bounds.networks import KINDS

SIZE = (2, 5, 6)


def window(row: list[int], column: list[int], high: int, wide: int, seed: int = 0) -> WindowCoefficients:
    """Random coefficients of windows of a map, 0 where they leave it."""
    generator = torch.Generator().manual_seed(seed)
    each = torch.rand(len(row), SIZE[0], high, wide, generator=generator, dtype=torch.float64)
    for at, (top, left) in enumerate(zip(row, column, strict=True)):
        rows, columns = torch.arange(top, top + high), torch.arange(left, left + wide)
        inside = ((rows >= 0) & (rows < SIZE[1]))[:, None] & ((columns >= 0) & (columns < SIZE[2]))
        each[at] *= inside
    return WindowCoefficients(each, torch.tensor(row), torch.tensor(column), SIZE)


def test_the_whole_map_of_a_window_is_itself_in_its_place() -> None:
    found = window([1, -1], [2, 4], 2, 3)
    whole = found.whole().each
    assert whole.shape == (2, *SIZE)
    assert torch.equal(whole[0, :, 1:3, 2:5], found.each[0])
    assert torch.equal(whole[1, :, 0, 4:], found.each[1, :, 1, :2])
    assert float(whole.sum()) == pytest.approx(float(found.each.sum()))


@pytest.mark.parametrize(
    ("row", "column"), [([1, 2], [0, 1]), ([0, 1], [2, 3]), ([-1, 0], [-2, -1]), ([1, 1], [0, 1])]
)
def test_a_sum_is_that_of_the_whole_maps(row: list[int], column: list[int]) -> None:
    """Of windows at one distance from each other it is a window again; else it is a whole map."""
    one, other = window([0, 1], [1, 2], 3, 2), window(row, column, 2, 4, seed=1)
    found = add_coefficients(one, other)
    apart = row[1] - row[0] == 1 and column[1] - column[0] == 1
    assert isinstance(found, WindowCoefficients if apart else DenseCoefficients)
    torch.testing.assert_close(found.whole().each, one.whole().each + other.whole().each)


def test_values_are_seen_where_the_window_lies() -> None:
    values = torch.rand(3, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for image, found in (
        (torch.tensor([2, 0]), window([1, -1], [2, 5], 2, 3)),
        (torch.tensor([1]), window([1, 4], [2, 0], 2, 3)),
    ):
        direct = dot(found.whole().each, values[image].expand(2, *SIZE))
        torch.testing.assert_close(dot(found.each, found.seen(values, image)), direct)
        torch.testing.assert_close(
            dot(found.each, found.seen(values[:1], image)), dot(found.whole().each, values[:1])
        )


@pytest.mark.parametrize(
    ("strides", "pads", "dilations", "group"),
    [((1, 1), (0, 0, 0, 0), (1, 1), 1), ((2, 1), (1, 0, 1, 2), (1, 2), 1), ((1, 2), (1, 1, 1, 1), (1, 1), 2)],
)
def test_a_convolution_s_transpose_is_autograd_s(
    strides: tuple[int, int], pads: tuple[int, int, int, int], dilations: tuple[int, int], group: int
) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.rand(4, 2 // group, 2, 2, generator=generator, dtype=torch.float64)

    def convolved(x: Tensor) -> Tensor:
        framed = functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
        return functional.conv2d(framed, weight, None, strides, 0, dilations, group)

    x = torch.zeros(1, *SIZE, dtype=torch.float64, requires_grad=True)
    y = convolved(x)
    size = tuple(y.shape[1:])
    places = torch.arange(y.numel())
    found = WindowCoefficients.unit(places, size, y).through(weight, strides, pads, dilations, group, SIZE)
    flat = y.flatten()
    gradients = [torch.autograd.grad(flat[at], x, retain_graph=True)[0][0] for at in places.tolist()]
    torch.testing.assert_close(found.whole().each, torch.stack(gradients))


def test_products_of_values_without_dimensions() -> None:
    assert per_image(torch.zeros(3)).shape == (3, 1)
    assert dot(torch.tensor([1.0, 2.0]), torch.tensor([3.0])).tolist() == [3.0, 6.0]
    assert dot(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])).tolist() == [3.0, 8.0]


@pytest.mark.parametrize("kind", ["conv", "residual", "pooling"])
@pytest.mark.parametrize("threat", [Linf("1/20"), L2("1/5"), L1("1/2")], ids=str)
def test_a_window_gives_the_bound_of_the_whole_map(kind: str, threat: Linf | L2 | L1) -> None:
    built = KINDS[kind](0)
    program = Program.of(read(built.model()))
    x = torch.rand(3, *built.shape, generator=torch.Generator().manual_seed(1))
    seen = 0
    with torch.no_grad():
        found = relax(program, Region.around(x, threat))
        for step in program.steps:
            if len(step.size) != 3:
                continue
            places = torch.arange(int(np.prod(step.size)))
            for image in (torch.tensor([1]), places % 3):
                window = WindowCoefficients.unit(places, step.size, found.region.lower)
                for sign in (1, -1):
                    signed = window.with_(sign * window.each)
                    one = found.lower(step.name, signed, image)
                    whole = found.lower(step.name, signed.whole(), image)
                    torch.testing.assert_close(one, whole, rtol=1e-9, atol=1e-9)
                    seen += len(places)
    assert seen > 500
