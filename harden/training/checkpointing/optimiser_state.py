"""What an optimiser remembers (moments, momentum, counts), as tensors and facts and back."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from harden.errors import InputError


class StatefulOptimiser(Protocol):
    """torch.optim.Optimizer, and what accelerate wraps it in."""

    def state_dict(self) -> dict[str, Any]:
        """Its state and parameter groups."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take such a state."""
        ...


def optimiser_state(optimiser: StatefulOptimiser) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by "parameter.name", and what is no tensor likewise; "group.number.name" of parameter groups.

    Some optimisers (those without a schedule, say) count and adapt in their groups. The learning rate, which
    the loop sets at each step, and fields that are no numbers are not kept: they are the optimiser's setup.

    Raises:
        InputError: the optimiser remembers something that no file of numbers holds.
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
    for position, remembered in whole["state"].items():
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


def put_optimiser_state(
    optimiser: StatefulOptimiser, tensors: dict[str, Tensor], facts: dict[str, Any]
) -> None:
    """Return an optimiser over the same parameters what another one remembered."""
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
