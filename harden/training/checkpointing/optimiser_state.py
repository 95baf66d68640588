"""Conversion of an optimiser's state (moments, momentum, counts) to tensors and facts, and back."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from harden.errors import InputError


class StatefulOptimiser(Protocol):
    """An object with the state methods of torch.optim.Optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Return its state and parameter groups."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Replace its state and parameter groups."""
        ...


def optimiser_state(optimiser: StatefulOptimiser) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and other values by "parameter.name", and by "group.number.name" of parameter groups.

    Some optimisers, such as those without a schedule, count and adapt in their groups. The learning rate,
    which the loop sets at each step, and fields that are no numbers are not kept: they belong to the
    optimiser's setup.

    Raises:
        InputError: the optimiser's state holds other values than tensors, numbers and texts.
    """
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    whole = optimiser.state_dict()
    for number, group in enumerate(whole["param_groups"]):
        for name, value in group.items():
            if name in ("params", "lr"):
                continue
            if isinstance(value, Tensor):
                tensors[f"group.{number}.{name}"] = value
            elif isinstance(value, bool | int | float):
                facts[f"group.{number}.{name}"] = value
    for position, values in whole["state"].items():
        for name, value in values.items():
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


def put_optimiser_state(
    optimiser: StatefulOptimiser, tensors: dict[str, Tensor], facts: dict[str, Any]
) -> None:
    """Set the state of an optimiser over the same parameters."""
    state: dict[int, dict[str, Any]] = {}
    groups = [dict(group) for group in optimiser.state_dict()["param_groups"]]
    for key, value in (*tensors.items(), *facts.items()):
        position, _, name = key.partition(".")
        if position == "group":
            number, _, name = name.partition(".")
            groups[int(number)][name] = value
        else:
            state.setdefault(int(position), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": groups})
