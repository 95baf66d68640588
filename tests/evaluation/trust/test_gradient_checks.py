"""Trust checks of gradients: counts on networks whose gradient is known, and thresholds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harden.evaluation.trust.gradient_checks import (
    NOT_FINITE_SHARE,
    ZERO_GRADIENT_SHARE,
    ball_and_box,
    gradients_are_finite,
    gradients_exist,
    has_gradient,
    zero_gradients,
)

X = torch.tensor([0.2, 0.5, 0.8]).view(3, 1, 1, 1)
Y = torch.zeros(3, dtype=torch.int64)


def two(z: Tensor) -> Tensor:
    return torch.stack((-z, z), 1)


def smooth(x: Tensor) -> Tensor:
    return two(x.flatten(1).sum(1))


def flat(x: Tensor) -> Tensor:
    """Constant below 0.6."""
    return two(x.flatten(1).sum(1).clamp_min(0.6))


def undefined(x: Tensor) -> Tensor:
    """An infinite gradient at 0.2."""
    return two((x.flatten(1).sum(1) - 0.2).abs().sqrt())


def rounded(x: Tensor) -> Tensor:
    return two(x.detach().flatten(1).sum(1))


WEIGHT = torch.ones(2, requires_grad=True)


def constant(x: Tensor) -> Tensor:
    """A gradient of a weight alone."""
    return WEIGHT.expand(len(x), 2) * torch.tensor([1.0, 2.0])


@pytest.mark.parametrize(
    ("network", "zero"), [(smooth, 0), (flat, 2), (undefined, 1), (rounded, 3), (constant, 3)]
)
def test_images_without_a_usable_gradient_are_counted(network: object, zero: int) -> None:
    assert callable(network)
    with torch.inference_mode():
        assert zero_gradients(network, X, Y) == zero
        assert zero_gradients(network, X[:0], Y[:0]) == 0
        assert has_gradient(network, X, Y) is (network not in (rounded, constant))


@pytest.mark.parametrize(
    ("check", "share"), [(gradients_exist, ZERO_GRADIENT_SHARE), (gradients_are_finite, NOT_FINITE_SHARE)]
)
def test_a_check_fires_above_its_share_and_not_of_nothing(check: object, share: float) -> None:
    assert callable(check)
    most = round(1000 * share)
    assert (check(most, 1000).passed, check(most + 1, 1000).passed) == (True, False)
    assert check(most, 1000).value == pytest.approx(share)
    assert check(0, 0).passed


def test_one_result_outside_is_enough() -> None:
    assert ball_and_box(0).passed
    assert not ball_and_box(1).passed
