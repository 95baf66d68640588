"""Weights on disk: safetensors, written beside and renamed."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from harden.errors import InputError
from harden.files import write_bytes
from harden.training.averaging import weights_of

WEIGHTS_FILE = "weights.safetensors"


def save_weights(module: nn.Module, folder: Path) -> Path:
    """Write a module's parameters and buffers to folder/weights.safetensors, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
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
    try:
        weights = load(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"no {path}", "a safetensors file with weights", "point to an existing file"
        ) from None
    except SafetensorError as error:
        raise InputError(
            f"{path} ({error})",
            "a safetensors file, whole",
            "save it with safetensors.torch.save_file; a pickle is not read, a damaged file not mended",
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}", "a safetensors file with weights", "point to a file that can be read"
        ) from None
    own = {name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    other = sorted(
        name for name in own.keys() | weights.keys() if not _fits(own.get(name), weights.get(name))
    )
    if other:
        raise InputError(
            f"{path} does not fit the network at {other[:3]}",
            "weights of this very network",
            "name the network they were saved from: --model",
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])


def _fits(mine: torch.Tensor | None, stored: torch.Tensor | None) -> bool:
    return (
        mine is not None and stored is not None and mine.shape == stored.shape and mine.dtype == stored.dtype
    )
