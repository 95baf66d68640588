"""The warm-up penalty: numbers worked out by hand, where it is 0, and the weights that it moves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.bounds.crown.backward import Relaxation
from harden.bounds.rules import Rectifier
from harden.objectives.bound_tightness import ENOUGH, warm_up_penalty


def relaxation(radius: float, *before: tuple[list[float], list[float]], others: int = 0) -> Relaxation:
    """Images of one radius, and of what goes into each ReLU the centres and radii of its neurons.

    Args:
        radius: of the images.
        before: centres and radii, for each ReLU.
        others: steps that are no ReLU.
    """
    lower = torch.zeros(1, 4)
    steps = [SimpleNamespace(inputs=("image",), rule=object()) for _ in range(others)]
    intervals: dict[str, tuple[Tensor, Tensor]] = {"image": (lower, lower + 2 * radius)}
    for at, (centres, radii) in enumerate(before):
        centre, spread = torch.tensor([centres]), torch.tensor([radii])
        intervals[f"v{at}"] = centre - spread, centre + spread
        steps.append(SimpleNamespace(inputs=(f"v{at}",), rule=Rectifier()))
    made: Any = SimpleNamespace(
        region=SimpleNamespace(lower=lower, upper=lower + 2 * radius),
        program=SimpleNamespace(steps=steps),
        intervals=intervals,
    )
    return cast(Relaxation, made)


def penalty(radius: float, *before: tuple[list[float], list[float]], others: int = 0) -> float:
    return float(warm_up_penalty(relaxation(radius, *before, others=others)))


def test_tau_is_that_of_the_paper() -> None:
    assert ENOUGH == 0.5


@pytest.mark.parametrize(
    ("radius", "centres", "radii", "expected"),
    [
        # As wide as the images, two neurons on either side, alike: nothing is missing.
        (0.5, [1.0, -1.0], [0.5, 0.5], 0.0),
        # Half as wide as what comes out: the ratio 1/2 is enough.
        (0.5, [1.0, -1.0], [1.0, 1.0], 0.0),
        # A quarter: t(1/4) = 1 - 1/2.
        (0.25, [1.0, -1.0], [1.0, 1.0], 0.5),
        # The mean radius counts: 0 and 2 are 1.
        (0.25, [1.0, -1.0], [0.0, 2.0], 0.5),
        # Centres 4 and -1: their balance is 1/4, and around the mean 3/2 both are as far.
        (0.5, [4.0, -1.0], [0.5, 0.5], 0.5),
        (0.5, [1.0, -4.0], [0.5, 0.5], 0.5),
        # None below 0: both balances are 0.
        (0.5, [1.0, 3.0], [0.5, 0.5], 2.0),
        (0.5, [-1.0, -3.0], [0.5, 0.5], 2.0),
        # Sums 3 and -3, squares around 0: 9 and 4.5 * 2 / 3 of them on one side.
        (0.5, [3.0, -1.0, -1.0, -1.0], [0.5] * 4, 1 - 2 * (3 / 9)),
    ],
)
def test_the_penalty_is_what_is_missing_of_three_ratios(
    radius: float, centres: list[float], radii: list[float], expected: float
) -> None:
    assert penalty(radius, (centres, radii)) == pytest.approx(expected, abs=1e-6)


def test_it_is_the_mean_over_the_rectifiers_and_of_these_alone() -> None:
    good, bad = ([1.0, -1.0], [0.5, 0.5]), ([1.0, 3.0], [0.5, 0.5])
    assert penalty(0.5, good, bad) == pytest.approx(1.0)
    assert penalty(0.5, good, bad, bad, bad, others=7) == pytest.approx(1.5)


def test_a_value_that_two_rectifiers_read_counts_once() -> None:
    found = relaxation(0.5, ([1.0, -1.0], [0.5, 0.5]), ([1.0, 3.0], [0.5, 0.5]))
    steps: Any = found.program.steps
    steps.append(SimpleNamespace(inputs=("v1",), rule=Rectifier()))
    assert float(warm_up_penalty(found)) == pytest.approx(1.0)


def test_without_rectifiers_there_is_none() -> None:
    found = warm_up_penalty(relaxation(0.5, others=3))
    assert found.shape == ()
    assert float(found) == 0.0


@pytest.mark.parametrize(("centres", "radii"), [([0.0, 0.0], [0.0, 0.0]), ([0.0], [1.0]), ([1e-30], [1e-30])])
def test_neurons_that_do_nothing_give_a_finite_number_with_a_finite_gradient(
    centres: list[float], radii: list[float]
) -> None:
    found = relaxation(0.5, (centres, radii))
    ends = tuple(end.requires_grad_() for end in found.intervals["v0"])
    cast(Any, found.intervals)["v0"] = ends
    value = warm_up_penalty(found)
    assert bool(value.isfinite())
    for gradient in torch.autograd.grad(value, ends):
        assert bool(gradient.isfinite().all())


@given(
    st.floats(0.01, 1),
    st.lists(st.tuples(st.floats(-4, 4), st.floats(0, 4)), min_size=1, max_size=6),
)
def test_it_is_between_0_and_3_whatever_the_intervals(
    radius: float, neurons: list[tuple[float, float]]
) -> None:
    centres, radii = ([pair[at] for pair in neurons] for at in (0, 1))
    assert 0 <= penalty(radius, (centres, radii)) <= 3


def test_a_step_down_its_gradient_narrows_what_is_too_wide() -> None:
    scale = torch.tensor(4.0, requires_grad=True)
    found = relaxation(0.5, ([1.0, -1.0], [1.0, 1.0]))
    centre, radius = torch.tensor([[1.0, -1.0]]), torch.ones(1, 2)
    cast(Any, found.intervals)["v0"] = (centre - scale * radius, centre + scale * radius)
    (gradient,) = torch.autograd.grad(warm_up_penalty(found), scale)
    assert float(gradient) > 0
