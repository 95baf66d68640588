"""Protocol of threat models."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol, Self

from torch import Tensor

from harden.draws import Draws
from harden.threats.budgets import Number


class Threat(Protocol):
    """What an adversary may do to an image: a ball of radius eps around it, cut by the box of pixels."""

    @property
    def name(self) -> str:
        """The norm's name, as the command line and the certificate spell it."""
        ...

    @property
    def eps(self) -> Fraction:
        """The perturbation budget in pixel units of [0, 1]."""
        ...

    @property
    def bounds(self) -> tuple[float, float]:
        """The box of valid pixels."""
        ...

    def size(self, delta: Tensor) -> Tensor:
        """The norm of each perturbation (N, ...) -> (N,), float64."""
        ...

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        """A random point of the ball around each x, inside the box."""
        ...

    def step_(self, x_adv: Tensor, x: Tensor, grad: Tensor, step_size: Tensor) -> None:
        """Move x_adv along the steepest ascent direction of grad, then back into ball and box, in place."""
        ...

    def project_(self, x_adv: Tensor, x: Tensor) -> None:
        """Project x_adv onto ball and box around x, in place; idempotent."""
        ...

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Whether each x_adv lies in ball and box, decided exactly as rational numbers: bool (N,)."""
        ...

    def scaled(self, factor: Number) -> Self:
        """The same threat with eps multiplied by factor."""
        ...
