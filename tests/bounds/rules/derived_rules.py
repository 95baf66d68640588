"""Bound rules derived for one operation, and what holds for every affine one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harden.bounds.crown.coefficients import Size, WindowCoefficients
from harden.bounds.rules import BOUND_RULES, Affine, OperationInputs, Rule

LIKE = torch.zeros((), dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers that float32 holds, in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def label(value: object) -> str | None:
    """The name of a case: its operation; constants and sizes are numbered."""
    return None if isinstance(value, tuple) else str(value)


def filled(constants: Sequence[Tensor | None], values: Sequence[Tensor]) -> list[Tensor]:
    """An operation's inputs: values where there is no constant."""
    rest = iter(values)
    return [next(rest) if each is None else each for each in constants]


def derived(operation: Any, constants: Sequence[Tensor | None], *sizes: Size) -> Rule | None:
    """The bound rule of an operation on values of these sizes, without the batch."""
    zeros = [LIKE.new_zeros(1, *size) for size in sizes]
    size = tuple(operation(*filled(constants, zeros)).shape[1:])
    inputs = OperationInputs(tuple(constants), sizes, size, LIKE)
    return BOUND_RULES[type(operation)].derive(operation, inputs)


def affine(operation: Any, constants: Sequence[Tensor | None], *sizes: Size) -> Affine:
    """The rule of an operation that has an affine one."""
    found = derived(operation, constants, *sizes)
    assert isinstance(found, Affine)
    return found


def check_affine(operation: Any, constants: Sequence[Tensor | None], *sizes: Size) -> Affine:
    """Assert that an operation has an affine rule, and that each part of it is what `Affine` states.

    Its value is the operation's in float64; its transpose is the adjoint, on windows too; the interval over
    a box is attained at the corners that the coefficients name; what float32 rounds is below the charge.
    """
    rule = affine(operation, constants, *sizes)
    values = [normal(3, *size, seed=at) for at, size in enumerate(sizes)]
    expected = operation(*filled(constants, values))
    found = rule.linear(*values) + rule.offset
    torch.testing.assert_close(found, expected.expand_as(found))
    unit = torch.eye(found[0].numel(), dtype=torch.float64).reshape(-1, *rule.size)
    back = rule.transpose(unit)
    linear = sum(
        (each.flatten(1) @ value.flatten(1).mT for each, value in zip(back, values, strict=True)),
        LIKE.new_zeros(len(unit), 3),
    )
    torch.testing.assert_close(linear.mT.reshape(3, *rule.size), rule.linear(*values).expand_as(found))
    _check_windows(rule)
    _check_interval(rule, values, back)
    weights = [None if each is None else _single(each) for each in constants]
    single = operation(*filled(weights, [_single(value) for value in values]))
    charge = rule.charge(*((value, value) for value in values))
    assert bool(((single.double() - found).abs() <= charge).all())
    return rule


def _single(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _check_windows(rule: Affine) -> None:
    if rule.through is None:
        return
    places = torch.arange(LIKE.new_zeros(rule.size).numel())
    window = WindowCoefficients.unit(places, rule.size, LIKE)
    for one, other in zip(rule.through(window), rule.transpose(window.whole().each), strict=True):
        torch.testing.assert_close(one.whole().each, other)


def _check_interval(rule: Affine, values: list[Tensor], back: tuple[Tensor, ...]) -> None:
    """The ends of the interval are the values at the corners that each output's coefficients name."""
    boxes = [(value[:1] - 0.3, value[:1] + 0.3) for value in values]
    lower, upper = rule.interval(*boxes)
    for end, sign in ((lower, -1), (upper, 1)):
        corners = [value[:1] + 0.3 * sign * each.sign() for value, each in zip(values, back, strict=True)]
        reached = (rule.linear(*corners) + rule.offset).flatten(1).diagonal()
        torch.testing.assert_close(reached, end.flatten())
