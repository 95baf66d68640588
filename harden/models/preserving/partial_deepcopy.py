"""Deep copy of a network in which objects that can't be copied are shared."""

from __future__ import annotations

import copyreg
import functools
import logging
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from harden.models.preserving.reachable_objects import (
    ATOMS,
    PROXIES,
    attributes_of,
    class_level_ids,
    contents_of_cell,
    is_importable,
    is_namespace,
    is_outside,
    members,
)
from harden.models.unwrap import unwrap

_log = logging.getLogger("harden")
_UNKNOWN: Final = object()
_PLAIN: Final = (list, tuple, dict, set, frozenset, deque)
_CODE: Final = (types.FunctionType, types.CellType, types.MethodType, types.BuiltinFunctionType)


@final
class PartialDeepcopy:
    """Copier of objects, each copied once; a call with an object returns its copy.

    Args:
        reached: objects reachable from the root, by ids.
        root: the network.
        placed: maps the copy of a tensor that is neither parameter nor buffer to the tensor that is kept.
    """

    def __init__(
        self, reached: Mapping[int, object], root: nn.Module, placed: Callable[[Tensor], Tensor]
    ) -> None:
        self._reached, self._root, self._placed = reached, root, placed
        own = (*root.parameters(), *root.buffers())
        self._own = {id(tensor) for tensor in own}
        self._storages = {_storage(tensor): tensor for tensor in own if _is_dense(tensor)}
        # In the form of copy.deepcopy's memo, so that a user's __deepcopy__ can pass it on.
        self._stuck = {key for key, value in reached.items() if not _is_copyable(value)}
        kept = _shared(reached, self._stuck) | (class_level_ids(reached.values()) & reached.keys())
        self._memo: dict[int, Any] = {key: reached[key] for key in kept}

    def __call__(self, value: Any) -> Any:
        """Return the copy of an object, the same at each call."""
        if type(value) in ATOMS or is_namespace(value) or is_outside(value):
            return value
        found = self._memo.get(id(value), _UNKNOWN)
        if found is _UNKNOWN:
            found = self._made(value)
            self._memo[id(value)] = found
            if id(value) not in self._reached:
                self._memo.setdefault(id(self._memo), []).append(
                    value
                )  # kept alive, since ids of freed objects are reused
        return found

    def _made(self, value: Any) -> Any:
        kind = type(value)
        if kind is weakref.ReferenceType:
            return self._reference(value(), value, weakref.ref)
        if kind in PROXIES:
            return self._reference(value.__repr__.__self__, value, weakref.proxy)
        if isinstance(value, _CODE):
            return self._code(value)
        if id(value) in self._own:
            return self._copied(value)
        if isinstance(value, torch.jit.ScriptModule):
            return self._scripted(value)
        if isinstance(value, nn.Module):
            inner = unwrap(value)
            return self(inner) if inner is not value and value is not self._root else self._whole(value)
        if kind in (list, dict, tuple):
            return self._container(value)
        try:
            return self._tensor(value) if isinstance(value, Tensor) else self._whole(value)
        except Exception as error:  # a user's class may raise anything; RecursionError included
            self._memo.pop(id(value), None)
            _log.info("a %s that can't be copied is shared with the copy: %s", kind.__name__, error)
            return value

    @torch.no_grad()
    def _scripted(self, value: Any) -> Any:
        """Copy a scripted or traced module, whose copies of weights would be recorded in a graph."""
        made = value.__deepcopy__(self._memo)
        for weight, own in zip(made.parameters(), value.parameters(), strict=True):
            weight.requires_grad_(own.requires_grad)
        return made

    def _container(self, value: Any) -> Any:
        if type(value) is tuple:
            parts = tuple(self(each) for each in value)
            if id(value) in self._memo:  # copied meanwhile, in a cycle
                return self._memo[id(value)]
            return value if all(new is old for new, old in zip(parts, value, strict=True)) else parts
        made: Any = type(value)()
        self._memo[id(value)] = made
        if type(value) is list:
            made.extend(self(each) for each in value)
        else:
            made.update({self(key): self(each) for key, each in value.items()})
        return made

    def _whole(self, value: Any) -> Any:
        """Copy as copy.deepcopy does: by the class's own method, or by its pickled form."""
        if (own := getattr(value, "__deepcopy__", None)) is not None:
            return own(self._memo)
        if id(value) in self._stuck:
            return self._rebuilt(value, object.__new__, (type(value),), attributes_of(value))
        reduce = copyreg.dispatch_table.get(type(value))
        reduced: Any = reduce(value) if reduce else value.__reduce_ex__(4)
        return value if isinstance(reduced, str) else self._rebuilt(value, *reduced)

    def _rebuilt(
        self,
        value: Any,
        make: Callable[..., Any],
        given: tuple[object, ...],
        state: Any = None,
        items: Iterable[Any] | None = None,
        pairs: Iterable[tuple[Any, Any]] | None = None,
    ) -> Any:
        made = make(*(self(each) for each in given))
        self._memo[id(value)] = made
        if state is not None:
            _set_state(made, self(state))
        for each in items or ():
            made.append(self(each))
        for key, each in pairs or ():
            made[self(key)] = self(each)
        return made

    def _tensor(self, value: Tensor) -> Tensor:
        """Copy a tensor that is neither parameter nor buffer."""
        view = self._view(value)
        return self._placed(self._copied(value)) if view is None else view

    def _copied(self, value: Tensor) -> Tensor:
        if value.is_leaf and not value.is_inference():
            same: Tensor = value.__deepcopy__(self._memo)  # type: ignore[no-untyped-call]  # torch left it untyped
            return same
        made = value.detach().clone()
        return nn.Parameter(made, value.requires_grad) if isinstance(value, nn.Parameter) else made

    def _view(self, value: Tensor) -> Tensor | None:
        """Return the view of the copy's parameter for a view of a parameter; None for other tensors."""
        base = self._storages.get(_storage(value)) if _is_dense(value) else None
        if base is None or value.dtype != base.dtype or value.is_inference():
            return None
        offset = value.storage_offset() - base.storage_offset()
        steps = zip(value.shape, value.stride(), strict=True)
        last = offset + sum((size - 1) * step for size, step in steps)
        if not (value.numel() and base.is_contiguous() and offset >= 0 and last < base.numel()):
            return None
        whole: Tensor = self(base)
        whole = whole if value.requires_grad and not value.is_leaf else whole.detach()
        return whole.as_strided(value.shape, value.stride(), offset)

    def _code(self, value: Any) -> Any:
        if isinstance(value, types.CellType):
            cell = types.CellType()
            self._memo[id(value)] = cell
            for held in contents_of_cell(value):
                cell.cell_contents = self(held)
            return cell
        if isinstance(value, types.MethodType):
            return types.MethodType(self(value.__func__), self(value.__self__))
        if isinstance(value, types.BuiltinFunctionType):
            owner = value.__self__
            twin = owner if owner is None else self(owner)
            return value if twin is owner else getattr(twin, value.__name__)
        return self._function(value)

    def _function(self, value: types.FunctionType) -> types.FunctionType:
        """Copy a function with its closure and defaults; a function that can be imported is shared."""
        if is_importable(value) or not (value.__closure__ or value.__defaults__ or value.__kwdefaults__):
            return value
        cells = tuple(self(cell) for cell in value.__closure__ or ())
        made = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, cells or None)
        self._memo[id(value)] = made
        functools.update_wrapper(made, value, updated=())
        vars(made).clear()
        vars(made).update(self(vars(value)))
        made.__defaults__, made.__kwdefaults__ = self(value.__defaults__), self(value.__kwdefaults__)
        return made

    def _reference(self, target: Any, value: Any, point: Callable[[Any], Any]) -> Any:
        """Return a weak reference to the copy where the target is copied."""
        if target is None or id(target) not in self._reached:
            return value
        twin = self(target)
        return value if twin is target else point(twin)


def _shared(reached: Mapping[int, object], stuck: set[int]) -> set[int]:
    """The ids of objects without tensors that can't be copied, hold such an object, or have a destructor."""
    holders: dict[int, list[int]] = {}
    for key, value in reached.items():
        for part in members(value):
            holders.setdefault(id(part), []).append(key)
    dense = _held_by(
        {key for key, value in reached.items() if isinstance(value, Tensor | nn.Module)}, holders
    )
    candidates = _held_by(stuck, holders) | {
        key for key, value in reached.items() if hasattr(type(value), "__del__")
    }
    return {
        key
        for key in candidates
        if (key not in dense and not isinstance(reached[key], (*_PLAIN, *_CODE)))
        or (key in stuck and attributes_of(reached[key]) is None)
    }


def _held_by(seeds: set[int], holders: Mapping[int, list[int]]) -> set[int]:
    """The seeds, and all objects that lead to one."""
    found, pending = set(seeds), list(seeds)
    while pending:
        for key in holders.get(pending.pop(), ()):
            if key not in found:
                found.add(key)
                pending.append(key)
    return found


def _is_copyable(value: Any) -> bool:
    """Return whether an object can be pickled or has a copying method, which is not tested."""
    if isinstance(value, (Tensor, nn.Module, *_PLAIN, *_CODE)) or is_outside(value):
        return not is_outside(value)
    try:
        return (
            getattr(value, "__deepcopy__", None) is not None
            or type(value) in copyreg.dispatch_table
            or bool(value.__reduce_ex__(4))
        )
    except Exception:  # a TypeError of locks, files, generators; anything of a user's class
        return False


def _set_state(made: Any, state: Any) -> None:
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    state, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if state is not None:
        made.__dict__.update(state)
    for name, each in (slots or {}).items():
        setattr(made, name, each)


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_meta and type(tensor) in (Tensor, nn.Parameter)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if _is_dense(tensor) else 0
