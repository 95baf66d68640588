"""Argument checks that all attacks share: what passes, and the text of each refusal."""

from __future__ import annotations

import math

import pytest
import torch

from harden.attacks.engine.argument_checks import check_counts, check_draws, check_pictures, check_step_size
from harden.draws import Draws
from harden.errors import InputError


def test_valid_arguments_pass() -> None:
    check_counts(1, 1, "")
    check_step_size(1e-9)
    check_draws(Draws(0, torch.arange(3)), torch.zeros(3, 2))
    check_pictures(torch.zeros(0, 1, 2, 2))


@pytest.mark.parametrize(("steps", "restarts"), [(0, 1), (1, 0), (-3, 2)])
def test_fewer_than_one_of_each_is_refused(steps: int, restarts: int) -> None:
    with pytest.raises(InputError) as caught:
        check_counts(steps, restarts, "write Attack(samples=10)", "samples")
    assert caught.value.seen == f"{steps} samples and {restarts} restarts"
    assert caught.value.instead == "write Attack(samples=10)"


@pytest.mark.parametrize("size", [0.0, -0.1, math.nan])
def test_a_step_size_that_is_not_positive_is_refused(size: float) -> None:
    with pytest.raises(InputError, match=f"step size {size}; expected a positive multiple of eps"):
        check_step_size(size)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_draws_of_another_number_are_refused(count: int) -> None:
    """One id would broadcast."""
    with pytest.raises(InputError, match=f"draws for {count} examples and 3 images"):
        check_draws(Draws(0, torch.arange(count)), torch.zeros(3, 1, 2, 2))


@pytest.mark.parametrize("shape", [(3, 8, 8), (5,), (1, 1, 3, 8, 8)], ids=str)
def test_images_without_rows_and_columns_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        check_pictures(torch.zeros(shape))
    assert caught.value.seen == f"images of shape {shape}"
