"""Snapshots of a run in one file: tensors and facts under one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from harden.description import JSON
from harden.errors import InputError
from harden.system.atomic_files import read_bytes, refuse_pointer, write_bytes
from harden.system.nesting_limits import json_value
from harden.system.size_limits import WEIGHTS_BYTES

_FACTS, _DIGEST = "harden.facts", "harden.sha256"
_WHOLE = "a snapshot that harden wrote, whole"
_ADVICE = "remove the folder it is in and start anew; a damaged snapshot can't be repaired"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Tensors by name and facts (numbers, texts, lists) by name."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix.`, under names without it."""
        start = f"{prefix}."
        return {
            name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)
        }


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with `prefix.` before their names."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers, those that its state_dict leaves out included; not copies."""
    named = {name: value.detach() for name, value in module.named_parameters(remove_duplicate=False)}
    return named | {name: value.detach() for name, value in module.named_buffers(remove_duplicate=False)}


@torch.no_grad()
def put_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors of `tensors_of` into a module of the same structure, in place.

    Raises:
        InputError: names or shapes differ.
    """
    own = tensors_of(module)
    unlike = [
        name
        for name in sorted(own.keys() | tensors.keys())
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape
    ]
    if unlike:
        raise InputError(f"a snapshot that differs from the network at {unlike[:3]}", _WHOLE, _ADVICE)
    for name, value in own.items():
        value.copy_(tensors[name])


def write_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot atomically: after an interruption the file holds the previous one or this one."""
    # Clones: safetensors refuses tensors that share memory, which tied weights do.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in snapshot.tensors.items()}
    facts = json.dumps(snapshot.facts, sort_keys=True)
    write_bytes(path, save(tensors, {_FACTS: facts, _DIGEST: _digest(tensors, facts)}))


def read_snapshot(path: Path) -> Snapshot:
    """Read a snapshot.

    Raises:
        InputError: the file is missing or damaged in any bit.
    """
    try:
        content = read_bytes(path, WEIGHTS_BYTES)
        refuse_pointer(content, path)
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        notes = json_value(content[8 : 8 + length]).get("__metadata__") or {}
        facts = notes[_FACTS]
        if notes[_DIGEST] != _digest(tensors, facts):
            raise InputError(f"{path}, whose content differs from its digest", _WHOLE, _ADVICE)
        return Snapshot(tensors, json_value(facts.encode()))
    except FileNotFoundError:
        raise InputError(f"no {path}", _WHOLE, "point to the folder of a run") from None
    except (SafetensorError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} ({reason})", _WHOLE, _ADVICE) from None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of tensors by name, dtype, shape and content, independent of order and layout."""
    whole = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        head = json.dumps([name, str(value.dtype), list(value.shape)])
        whole.update(head.encode())
        # As bytes, since numpy has no bfloat16.
        flat = value.detach().cpu().contiguous().reshape(-1)
        whole.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return whole.hexdigest()


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    return hashlib.sha256((digest_of(tensors) + facts).encode()).hexdigest()


def as_facts(described: JSON) -> JSON:
    """Return a value as it is read back from JSON: tuples become lists, keys texts."""
    again: JSON = json.loads(json.dumps(described))
    return again
