"""CROWN by its formula, for dense ReLU networks, in numpy; Lagrange multipliers of the wrong sign."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from harden.bounds import Program, Region
from harden.bounds.certification import margin_rows, worst_margins
from harden.bounds.crown.coefficients import DenseCoefficients
from harden.bounds.crown.intermediate_bounds import relax
from harden.bounds.rules import Rectifier
from harden.graph import read
from harden.threats import Linf
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


def test_multipliers_of_the_wrong_sign_count_as_none() -> None:
    built = KINDS["dense"](1)
    program = Program.of(read(built.model()))
    x = torch.rand(1, 6, generator=torch.Generator().manual_seed(0))
    found = relax(program, Region.around(x, Linf("1/10")))
    rows, image = margin_rows(torch.tensor([0]), program.classes, found.region.lower)
    plain = found.lower(program.output, DenseCoefficients(rows), image)
    step = next(each for each in program.steps if isinstance(each.rule, Rectifier))
    lower, upper = found.intervals[step.inputs[0]]
    assert bool((lower >= 0).any() and (upper <= 0).any() and ((lower < 0) & (upper > 0)).any())
    wrong = torch.where(lower >= 0, 1.0, torch.where(upper <= 0, -1.0, 3.0)).expand(len(rows), -1)
    pulls = {step.inputs[0]: wrong}
    assert bool((found.lower(program.output, DenseCoefficients(rows), image, None, pulls) == plain).all())
