"""What an optimiser remembers (moments, momentum, counts), as tensors and facts and back."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from harden.errors import InputError


class Remembers(Protocol):
    """torch.optim.Optimizer, and what accelerate wraps it in."""

    def state_dict(self) -> dict[str, Any]:
        """Its state and parameter groups."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take such a state."""
        ...


def optimiser_state(optimiser: Remembers) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by "parameter.name", and what is no tensor likewise.

    Raises:
        InputError: the optimiser remembers something that no file of numbers holds.
    """
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for position, remembered in optimiser.state_dict()["state"].items():
        for name, value in remembered.items():
            if isinstance(value, Tensor):
                tensors[f"{position}.{name}"] = value
            elif value is None or isinstance(value, bool | int | float | str):
                facts[f"{position}.{name}"] = value
            else:
                raise InputError(
                    f"an optimiser that remembers a {type(value).__name__} as {name!r}",
                    "tensors and numbers, which a checkpoint can hold",
                    "use SGD or AdamW, or run without checkpoints",
                )
    return tensors, facts


def put_optimiser_state(optimiser: Remembers, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Give an optimiser over the same parameters what another one remembered."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *facts.items()):
        position, _, name = key.partition(".")
        state.setdefault(int(position), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
