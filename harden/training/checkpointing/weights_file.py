"""Weights on disk, as safetensors files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from harden.errors import InputError
from harden.system.atomic_files import read_bytes, refuse_pointer, write_bytes
from harden.system.safe_folders import make_folder
from harden.system.size_limits import WEIGHTS_BYTES
from harden.training.weights.weight_averaging import weights_of

WEIGHTS_FILE = "weights.safetensors"
_PREFIXES: Final = ("module.", "_orig_mod.", "model.", "net.")
_HALVES: Final = (torch.float16, torch.bfloat16)


def save_weights(module: nn.Module, folder: Path) -> Path:
    """Write a module's parameters and buffers to folder/weights.safetensors, atomically."""
    make_folder(folder)
    path = folder / WEIGHTS_FILE
    # Clones: safetensors refuses tensors that share memory, which tied weights do.
    weights = {name: value.cpu().contiguous() for name, value in weights_of(module).items()}
    write_bytes(path, save(weights))
    return path


def restore_weights(module: nn.Module, folder: Path) -> None:
    """Read folder/weights.safetensors into a module, in place.

    Raises:
        InputError: the file is missing, corrupt, or holds other names or shapes than the module.
    """
    restore_weights_file(module, folder / WEIGHTS_FILE)


def restore_weights_file(module: nn.Module, path: Path) -> None:
    """Read a safetensors file into a module, in place; see `restore_weights`."""
    _put(module, _read(path), path)


def load_weights_file(module: nn.Module, path: Path) -> tuple[str, ...]:
    """Read a safetensors file that another program wrote into a module, in place.

    Prefixes that DataParallel (`module.`), torch.compile (`_orig_mod.`) and Lightning (`model.`, `net.`) put
    before every name are removed where the names fit only without them, and weights in float16 or bfloat16
    are converted to float32 for a float32 network, without rounding.

    Returns:
        Descriptions of the conversions.

    Raises:
        InputError: the file is missing, corrupt, or holds other names or shapes than the module.
    """
    weights = _read(path)
    own = _own(module)
    prefix = _prefix(own.keys(), weights.keys())
    weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    halves = [
        name
        for name, value in weights.items()
        if value.dtype in _HALVES and name in own and own[name].dtype == torch.float32
    ]
    kinds = sorted({str(weights[name].dtype).removeprefix("torch.") for name in halves})
    weights |= {name: weights[name].float() for name in halves}
    _put(module, weights, path)
    notes = [f"{path}: removed the prefix {prefix!r} from all {len(weights)} names"] if prefix else []
    if halves:
        notes.append(f"{path}: converted {len(halves)} weights in {' and '.join(kinds)} to float32")
    return tuple(notes)


def _prefix(own: Collection[str], stored: Collection[str]) -> str:
    """Return the wrappers' prefix of every stored name, where the names fit the network only without it."""
    found = ""
    while stored and not set(own) & {name.removeprefix(found) for name in stored}:
        following = next(
            (each for each in _PREFIXES if all(name.startswith(found + each) for name in stored)), None
        )
        if following is None:
            return ""
        found += following
    return found


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = read_bytes(path, WEIGHTS_BYTES)
        refuse_pointer(content, path)
        return load(content)
    except FileNotFoundError:
        raise InputError(
            f"no {path}", "a safetensors file with weights", "point to an existing file"
        ) from None
    except SafetensorError as error:
        raise InputError(
            f"{path} ({error})",
            "a safetensors file, whole",
            "save it with safetensors.torch.save_file; a pickle is not read, a damaged file not repaired",
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}", "a safetensors file with weights", "point to a file that can be read"
        ) from None


def _own(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}


def _put(module: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    own = _own(module)
    names = sorted(own.keys() | weights.keys())
    other = [name for name in names if _unlike(own.get(name), weights.get(name))]
    if other:
        reason = _unlike(own.get(other[0]), weights.get(other[0]))
        raise InputError(
            f"{path} does not fit the network at {other[:3]}: {other[0]!r} {reason}",
            "weights of this very network",
            "name the network they were saved from: --model",
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])


def _unlike(mine: torch.Tensor | None, stored: torch.Tensor | None) -> str:
    """Describe the difference of a stored weight from the network's; "" where it fits."""
    if mine is None:
        return "is in the file alone"
    if stored is None:
        return "is in the network alone"
    if mine.shape != stored.shape:
        return f"has shape {tuple(stored.shape)} in the file, {tuple(mine.shape)} in the network"
    if mine.dtype != stored.dtype:
        kinds = [str(each.dtype).removeprefix("torch.") for each in (stored, mine)]
        return f"is {kinds[0]} in the file, {kinds[1]} in the network"
    return ""
