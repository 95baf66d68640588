"""CROWN by its formula, for dense ReLU networks, in numpy; and windows beside whole maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from harden.bounds import Program, Region
from harden.bounds.certification import worst_margins
from harden.bounds.crown.coefficients import WindowCoefficients
from harden.bounds.crown.intermediate_bounds import relax
from harden.graph import read
from harden.threats import L1, L2, Linf
from tests.bounds.networks import KINDS, dense_net

Array = NDArray[np.float64]


def by_the_formula(layers: list[tuple[Array, Array]], low: Array, high: Array, last: Array) -> Array:
    """Zhang et al., 1811.00866: intermediate bounds from backward passes, the adaptive lower slope.

    Args:
        layers: weights (out, in) and biases.
        low: (inputs,) the box.
        high: likewise.
        last: (rows, outputs), whose lower bounds are asked for.
    """
    bounds: list[tuple[Array, Array]] = []
    for depth in range(len(layers)):
        rows = np.eye(len(layers[depth][1])) if depth < len(layers) - 1 else last
        lower = backwards(layers[: depth + 1], bounds, low, high, rows)
        if depth == len(layers) - 1:
            return lower
        upper = -backwards(layers[: depth + 1], bounds, low, high, -rows)
        if bounds:  # harden keeps the better of this and of interval arithmetic
            before = [np.maximum(each, 0) for each in bounds[-1]]
            weight, bias = layers[depth]
            centre, radius = (
                weight @ ((before[0] + before[1]) / 2) + bias,
                np.abs(weight) @ ((before[1] - before[0]) / 2),
            )
            open_ = (centre - radius < 0) & (centre + radius > 0)
            lower = np.where(open_, np.maximum(lower, centre - radius), centre - radius)
            upper = np.where(open_, np.minimum(upper, centre + radius), centre + radius)
        bounds.append((lower, upper))
    raise AssertionError


def backwards(
    layers: list[tuple[Array, Array]], bounds: list[tuple[Array, Array]], low: Array, high: Array, rows: Array
) -> Array:
    total = np.zeros(len(rows))
    for depth in range(len(layers) - 1, -1, -1):
        weight, bias = layers[depth]
        total, rows = total + rows @ bias, rows @ weight
        if depth:
            lower, upper = bounds[depth - 1]
            mixed = (lower < 0) & (upper > 0)
            above = np.where(mixed, upper / np.where(mixed, upper - lower, 1), lower >= 0)
            below = np.where(mixed, upper > -lower, lower >= 0)
            plus, minus = np.maximum(rows, 0), np.minimum(rows, 0)
            total = total + minus @ np.where(mixed, -above * lower, 0)
            rows = plus * below + minus * above
    return total + np.maximum(rows, 0) @ low + np.minimum(rows, 0) @ high


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("eps", ["1/50", "1/10", "3/10"])
def test_crown_is_what_its_formula_says(seed: int, eps: str) -> None:
    model = dense_net(seed).model()
    arrays = [numpy_helper.to_array(each).astype(np.float64) for each in model.graph.initializer]
    layers = [(weight.T, bias) for weight, bias in zip(arrays[::2], arrays[1::2], strict=True)]
    program = Program.of(read(model))
    x = torch.rand(3, 6, generator=torch.Generator().manual_seed(seed))
    y = torch.tensor([0, 1, 2])
    region = Region.around(x, Linf(eps))
    with torch.no_grad():
        found = worst_margins(relax(program, region, rounding=False), y).numpy()
        rounded = worst_margins(relax(program, region), y).numpy()
    for at in range(3):
        rows = np.array([np.eye(4)[int(y[at])] - np.eye(4)[j] for j in range(4) if j != int(y[at])])
        expected = by_the_formula(layers, region.lower[at].numpy(), region.upper[at].numpy(), rows).min()
        assert found[at] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    # What float32 rounds is taken off, and is small.
    assert (rounded < found).all()
    assert (rounded > found - 1e-4).all()


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
