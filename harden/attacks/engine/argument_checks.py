"""Argument checks that all attacks share."""

from __future__ import annotations

from torch import Tensor

from harden.draws import Draws
from harden.errors import InputError


def check_counts(steps: int, restarts: int, instead: str, what: str = "steps") -> None:
    """Refuse fewer than one step, or whatever is counted in its place, or restart.

    Raises:
        InputError: there are.
    """
    if steps < 1 or restarts < 1:
        raise InputError(f"{steps} {what} and {restarts} restarts", "at least one of each", instead)


def check_step_size(step_size: float) -> None:
    """Refuse a step size that is no positive number.

    Raises:
        InputError: it is not.
    """
    if not step_size > 0:
        raise InputError(f"step size {step_size}", "a positive multiple of eps", "write step_size=0.25")


def check_draws(draws: Draws, x: Tensor) -> None:
    """Refuse draws of another number of examples: one would broadcast, the same start for every image.

    Raises:
        InputError: there are more or fewer ids than images.
    """
    if len(draws) != len(x):
        raise InputError(
            f"draws for {len(draws)} examples and {len(x)} images",
            "one id per image",
            "write Draws(seed, torch.arange(len(x)))",
        )


def check_pictures(x: Tensor) -> None:
    """Refuse what has no rows and columns of pixels.

    Raises:
        InputError: x is not of shape (N, C, H, W).
    """
    if x.dim() != 4:
        raise InputError(
            f"images of shape {tuple(x.shape)}", "a batch (N, C, H, W)", "write x[None] for a single image"
        )
