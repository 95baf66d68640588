"""Objects reachable from a network through attributes, hooks and functions."""

from __future__ import annotations

import dis
import functools
import io
import logging
import sys
import types
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from threading import Thread
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset

ATOMS: Final = (
    *(bool, int, float, complex, str, bytes, range, slice, type, property, types.NoneType),
    *(types.CodeType, types.ModuleType, types.EllipsisType, types.NotImplementedType),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size),
)
"""Types of values without parts, which are the same in every copy."""

OUTSIDE: Final = (Dataset, DataLoader, Optimizer, LRScheduler, Thread, io.IOBase)
OUTSIDE_NAMED: Final = (logging.Logger, logging.Handler)
"""Types of objects that belong to the process or to training, and to no forward."""

PROXIES: Final = (weakref.ProxyType, weakref.CallableProxyType)


def is_atom(value: object) -> bool:
    """Return whether a value has no parts."""
    return type(value) in ATOMS or type(value) in (weakref.ReferenceType, *PROXIES) or is_namespace(value)


def is_outside(value: object) -> bool:
    """Return whether an object belongs to the process or to training, and is neither searched nor copied."""
    return isinstance(value, (*OUTSIDE, *OUTSIDE_NAMED, type, types.ModuleType))


def is_namespace(value: object) -> bool:
    """Return whether a dict holds the names of a whole module."""
    return type(value) is dict and "__builtins__" in value


def reached(root: object, *, around: bool = False) -> dict[int, object]:
    """Return all objects reachable from one, itself included, by their ids.

    Args:
        root: a network, or any object.
        around: whether to add the tensors and containers outside the network that users' functions and
            classes use: those among their modules' global names and their class attributes.
    """
    found: dict[int, object] = {}
    pending = [root]
    while pending:
        value = pending.pop()
        if is_atom(value) or id(value) in found:
            continue
        found[id(value)] = value
        pending.extend(members(value))
        if around:
            pending.extend(outside_objects(value))
    return found


def members(value: object) -> Iterator[Any]:
    """Iterate over the objects that one holds directly."""
    if is_atom(value) or is_outside(value) or isinstance(value, Tensor):
        return
    if isinstance(value, types.FunctionType):
        yield from (cell for cell in value.__closure__ or ())
        yield from (value.__defaults__, value.__kwdefaults__, vars(value))
    elif isinstance(value, types.CellType):
        yield from contents_of_cell(value)
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, types.BuiltinFunctionType):
        yield value.__self__
    elif isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords, vars(value))
    else:
        if isinstance(value, dict):
            yield from tuple(value.values())
        elif isinstance(value, list | tuple | set | frozenset | deque):
            yield from tuple(value)
        yield from (attributes_of(value), *slots_of(value).values())


def attributes_of(value: object) -> dict[str, Any] | None:
    """An object's own `__dict__`, past any override; None where it has none."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if isinstance(found, dict) else None


def contents_of_cell(cell: types.CellType) -> tuple[object, ...]:
    """The content of a closure's cell, empty where it is unbound."""
    try:
        return (cell.cell_contents,)
    except ValueError:  # not bound yet
        return ()


def slots_of(value: object) -> dict[str, object]:
    """The attributes that an object keeps in slots."""
    names = [
        name
        for kind in type(value).__mro__
        if isinstance(slots := vars(kind).get("__slots__", ()), tuple | list | str)
        for name in ((slots,) if isinstance(slots, str) else slots)
        if isinstance(name, str) and name not in ("__dict__", "__weakref__")
    ]
    found: dict[str, object] = {}
    for name in names:
        try:
            found[name] = object.__getattribute__(value, name)
        except AttributeError:  # not set, or a private name
            continue
    return found


def is_importable(function: types.FunctionType) -> bool:
    """Return whether a function can be imported by its name or belongs to a library, so that it is shared."""
    if is_library(function.__module__):
        return True
    place: object = sys.modules.get(function.__module__ or "")
    for name in function.__qualname__.split("."):
        place = getattr(place, name, None)
    return place is function


def outside_objects(value: object) -> Iterator[Any]:
    """Iterate over tensors and containers outside a network that a function or a user's class uses."""
    if isinstance(value, types.FunctionType) and not is_library(value.__module__):
        for name in names_of(value.__code__):
            named = value.__globals__.get(name)
            same = isinstance(named, types.FunctionType) and named.__globals__ is value.__globals__
            if same or is_state(named):
                yield named
    elif isinstance(value, nn.Module):
        for kind in own_classes(value):
            for attribute in tuple(vars(kind).values()):
                function = getattr(attribute, "__func__", attribute)
                if isinstance(function, types.FunctionType) or is_state(attribute):
                    yield function


def class_level_ids(values: Iterable[object]) -> set[int]:
    """The ids of objects that methods of parts' classes, and functions they call, close over or name.

    A class is not copied, so the copy's forward reads the same objects, and hooks have to write to them.
    Parts and tensors are left out; they are copied where they are registered.
    """
    pending: list[object] = [
        getattr(attribute, "__func__", attribute)
        for kind in {kind for value in values if isinstance(value, nn.Module) for kind in own_classes(value)}
        for attribute in vars(kind).values()
    ]
    found: set[int] = set()
    while pending:
        function = pending.pop()
        if not isinstance(function, types.FunctionType) or id(function) in found:
            continue
        found.add(id(function))
        cells = function.__closure__ or ()
        found.update(map(id, cells))
        used = [*outside_objects(function), *(each for cell in cells for each in contents_of_cell(cell))]
        held = [each for each in used if not isinstance(each, Tensor | nn.Module)]
        found.update(id(each) for each in held if not isinstance(each, types.FunctionType))
        pending += held
    return found


def is_state(value: object) -> bool:
    """Return whether a global name or a class attribute has a type that a forward may change."""
    return isinstance(value, Tensor | list | dict | set | deque) or (
        attributes_of(value) is not None
        and not callable(value)
        and not is_atom(value)
        and not is_outside(value)
        and not is_library(type(value).__module__)
    )


def own_classes(part: nn.Module) -> list[type]:
    """The classes of a part that a user wrote."""
    return [kind for kind in type(part).__mro__ if not is_library(kind.__module__) and kind is not object]


@functools.lru_cache(maxsize=4096)
def names_of(code: types.CodeType) -> set[str]:
    """The names that a function's code uses, functions inside it included."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= names_of(constant)
    return found


@functools.lru_cache(maxsize=4096)
def rebound_globals(code: types.CodeType) -> set[str]:
    """The global names that a function's code assigns, functions inside it included."""
    found = {each.argval for each in dis.get_instructions(code) if each.opname == "STORE_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= rebound_globals(constant)
    return found


def is_library(module: str | None) -> bool:
    """Return whether a module is Python's own, torch's or harden's, and so holds no user's state."""
    return (module or "builtins").partition(".")[0] in {*sys.stdlib_module_names, "torch", "harden"}
