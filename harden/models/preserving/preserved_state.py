"""Record of all state of networks and their hooks, from which it is restored."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor, nn

from harden.models.preserving.reachable_objects import (
    contents_of_cell,
    is_library,
    own_classes,
    reached,
    rebound_globals,
    slots_of,
)

_ABSENT: Final = object()

Restore = Callable[[], None]


@final
class NetworkState:
    """The state reachable from networks, recorded at construction.

    It comprises attributes, buffers and parameters of all parts, and the content of lists, dicts, sets,
    objects, closures of hooks and functions, at any depth; and the tensors, containers and objects that their
    functions and users' classes name in the module around them, or keep as class attributes. Data sets,
    loaders, optimisers, threads, files and loggers are not recorded.

    Args:
        networks: networks whose state is recorded.
    """

    def __init__(self, *networks: nn.Module) -> None:
        found: dict[int, object] = {}
        for network in networks:
            found |= reached(network, around=True)
        self._alive = found
        self._undo: list[Restore] = [undo for value in found.values() for undo in _restorers(value)]

    def restore_(self) -> None:
        """Restore every recorded value; unchanged ones are not written."""
        for undo in self._undo:
            undo()


def _restorers(value: Any) -> list[Restore]:
    """Return the functions that restore the present content of an object."""
    if isinstance(value, Tensor):
        return _of_tensor(value)
    if isinstance(value, np.ndarray):
        return [_of_array(value)]
    if isinstance(value, torch.Generator):
        return [_of_generator(value)]
    if isinstance(value, types.CellType):
        return [_of_cell(value)]
    if isinstance(value, types.FunctionType):
        return [] if is_library(value.__module__) else [_of_globals(value)]
    found = []
    if isinstance(value, dict):
        found.append(_of_dict(value))
    elif isinstance(value, list | deque | set):
        found.append(_of_items(value))
    elif not isinstance(value, tuple | frozenset):
        found += [_of_slot(value, name, each) for name, each in slots_of(value).items()]
    if isinstance(value, nn.Module):
        found += [_of_class(kind) for kind in own_classes(value)]
    return found


def _of_tensor(tensor: Tensor) -> list[Restore]:
    try:
        memory, values, place = tensor.data, tensor.detach().clone(), tensor.data_ptr()
        torch.equal(
            values.new_empty(0), values.new_empty(0)
        )  # undo needs it, and a tracer's tensor raises here
    except Exception:  # a sparse tensor, or a tracer's, has no memory
        return []

    def undo() -> None:
        now = tensor.data
        if now.dtype != memory.dtype or now.shape != memory.shape or now.data_ptr() != place:
            tensor.data = memory
        if not torch.equal(tensor, values):
            with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                tensor.copy_(values)

    return [undo]


def _of_array(array: Any) -> Restore:
    values = array.copy()

    def undo() -> None:
        if not np.array_equal(array, values):
            array[...] = values

    return undo


def _of_generator(generator: torch.Generator) -> Restore:
    state = generator.get_state()

    def undo() -> None:
        generator.set_state(state)

    return undo


def _of_cell(cell: types.CellType) -> Restore:
    held = contents_of_cell(cell)

    def undo() -> None:
        if held and contents_of_cell(cell) and cell.cell_contents is not held[0]:
            cell.cell_contents = held[0]

    return undo


def _of_dict(known: dict[Any, Any]) -> Restore:
    items = list(known.items())

    def undo() -> None:
        now = list(known.items())
        same = len(now) == len(items) and all(
            a is c and b is d for (a, b), (c, d) in zip(now, items, strict=True)
        )
        if not same:
            known.clear()
            for key, value in items:  # not update(): a Counter would count
                known[key] = value

    return undo


def _of_items(known: Any) -> Restore:
    items = list(known)

    def undo() -> None:
        now = list(known)
        if len(now) != len(items) or any(a is not b for a, b in zip(now, items, strict=True)):
            known.clear()
            known.update(items) if isinstance(known, set) else known.extend(items)

    return undo


def _of_slot(value: object, name: str, held: object) -> Restore:
    def undo() -> None:
        if getattr(value, name, _ABSENT) is not held:
            object.__setattr__(value, name, held)

    return undo


def _of_globals(function: types.FunctionType) -> Restore:
    space = function.__globals__
    held = {name: space.get(name, _ABSENT) for name in rebound_globals(function.__code__)}

    def undo() -> None:
        for name, value in held.items():
            if value is _ABSENT:
                space.pop(name, None)
            else:
                space[name] = value

    return undo


def _of_class(kind: type) -> Restore:
    held = dict(vars(kind))

    def undo() -> None:
        now = dict(vars(kind))
        for name in now.keys() | held.keys():
            if name.startswith("__") or now.get(name, _ABSENT) is held.get(name, _ABSENT):
                continue
            if name in held:
                setattr(kind, name, held[name])
            else:
                delattr(kind, name)

    return undo
