"""Loads the compiled library once, after torch, and says what runs and why.

Two modules lie next to this file where they were built: `_cpu.so` and `_cuda.so`. Each exports a function
that registers its operations with torch's dispatcher and returns a code, so that a failure is a value here
and not a crash at import.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, final

import torch

# The interface these Python files expect of a module; cpp_ext/module.h holds its other half.
INTERFACE: Final = 3
# The operations of `_cpu`, under torch.ops.harden.
OPERATIONS: Final = (
    "linf_step_",
    "l2_step_",
    "l1_step_",
    "l1_project_",
    "topk_threshold",
    "fill_uniform_",
    "fill_normal_",
    "loss_grad_",
    "apgd_linf_step_",
    "apgd_l2_step_",
    "copy_rows_",
)
# The first torch whose stable C interface has every function the modules call.
OLDEST_TORCH: Final = (2, 10)
# The oldest device `_cuda` has code for: sm_80.
OLDEST_CAPABILITY: Final = (8, 0)
# What `_cuda` returns instead of registering; cpp_ext/cuda/module.cu holds its other half.
DRIVER_TOO_OLD: Final = -1
ELF_HEADER: Final = 64
FOLDER: Final = Path(__file__).parent

_LOG = logging.getLogger("harden")
_LOCK = threading.Lock()


@final
@dataclass(frozen=True, slots=True)
class Backend:
    """What runs the operations on one kind of device.

    Args:
        name: "native" for the compiled library, "torch" for the same operations in plain torch.
        reason: why, in words.
        modules: the names of the compiled modules that are loaded for this device.
        build: how the loaded modules were built; empty without one.
        failed: a module is present and could not be loaded. Not a choice but a defect, shown in every report.
    """

    name: Literal["native", "torch"]
    reason: str
    modules: tuple[str, ...] = ()
    build: str = ""
    failed: bool = False


class LoadError(Exception):
    """A compiled module is present and can't be used."""


def torch_release(version: str) -> tuple[int, int]:
    """Reads major and minor from a version of torch: (2, 14) from "2.14.1+cu130"; (0, 0) from none."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def check_whole(path: Path) -> None:
    """Refuses a shared library that was cut short: the system's loader would end the process with SIGBUS.

    Raises:
        LoadError: the file is no 64-bit ELF file, or ends before the section table that ELF files end with.
    """
    content = path.read_bytes()
    if len(content) < ELF_HEADER or content[:5] != b"\x7fELF\x02":
        raise LoadError(f"{path.name} is not a 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", content, 0x28)
    entry_size, entries = struct.unpack_from("<HH", content, 0x3A)
    if len(content) < table + entry_size * entries:
        raise LoadError(f"{path.name} is cut short at {len(content)} bytes: install harden again")


def load_module(path: Path) -> str:
    """Loads one compiled module, registers its operations with torch and returns how it was built.

    Raises:
        LoadError: the file is damaged, was built for other Python files, or torch refuses the registration.
    """
    try:
        check_whole(path)
        library = ctypes.CDLL(str(path))
        interface, build, register = library.harden_interface, library.harden_build, library.harden_register
    except (OSError, AttributeError) as error:
        raise LoadError(str(error)) from error
    if (found := interface()) != INTERFACE:
        raise LoadError(
            f"{path.name} has interface {found}, these Python files need {INTERFACE}: build it again"
        )
    build.restype = ctypes.c_char_p
    if (code := register()) == DRIVER_TOO_OLD:
        raise LoadError(f"the CUDA driver is older than the CUDA of {path.name} ({build().decode()})")
    if code:
        raise LoadError(f"torch refused the operations of {path.name} (code {code})")
    return str(build().decode())


def _fake(*_: object) -> None:
    """Replaces an operation while torch traces with tensors that hold no data: it returns nothing."""


def _register_fakes() -> None:
    for operation in OPERATIONS:
        torch.library.register_fake(f"harden::{operation}", _fake)


def choose(
    module: str,
    *,
    folder: Path = FOLDER,
    environment: Mapping[str, str] = os.environ,
    torch_version: str = torch.__version__,
) -> Backend:
    """Loads `folder/module.so` if it may and can be loaded, and says what runs."""
    if environment.get("HARDEN_NATIVE") == "0":
        return Backend("torch", "HARDEN_NATIVE=0 selects plain torch")
    path = folder / f"{module}.so"
    if not path.exists():
        return Backend("torch", f"{path.name} is not installed: this is the pure-Python build")
    if torch_release(torch_version) < OLDEST_TORCH:
        needed = ".".join(map(str, OLDEST_TORCH))
        return Backend("torch", f"torch is {torch_version}; the compiled library needs {needed} or newer")
    try:
        build = load_module(path)
        if module == "_cpu":
            _register_fakes()
    except LoadError as error:
        _LOG.warning("the compiled library failed to load, plain torch runs instead: %s", error)
        return Backend("torch", f"{path.name} failed to load: {error}", failed=True)
    return Backend("native", f"{path.name} is loaded", modules=(module,), build=build)


def _choose_cuda(cpu: Backend) -> Backend:
    if cpu.name == "torch":
        # The schemas of the operations live in the CPU module.
        return Backend("torch", f"no CUDA module without the CPU one: {cpu.reason}", failed=cpu.failed)
    if torch.version.cuda is None or not torch.cuda.is_available():
        return Backend("torch", f"torch {torch.__version__} sees no CUDA device")
    oldest = min(torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count()))
    if oldest < OLDEST_CAPABILITY:
        return Backend("torch", f"a device has compute capability {oldest}, older than {OLDEST_CAPABILITY}")
    return choose("_cuda")


_CHOSEN: dict[str, Backend] = {}


def backend(device: torch.device | str | None = None) -> Backend:
    """Says what runs the operations on a device: the compiled library or plain torch, and why.

    Args:
        device: a torch device or its name; the CPU where it is left out.
    """
    kind = "cpu" if device is None else torch.device(device).type
    if (known := _CHOSEN.get(kind)) is not None:
        return known
    with _LOCK:
        if kind not in _CHOSEN:
            if kind == "cpu":
                _CHOSEN[kind] = choose("_cpu")
            elif kind == "cuda":
                if "cpu" not in _CHOSEN:
                    _CHOSEN["cpu"] = choose("_cpu")
                _CHOSEN[kind] = _choose_cuda(_CHOSEN["cpu"])
            else:
                _CHOSEN[kind] = Backend("torch", f"there is no compiled module for {kind} devices")
    return _CHOSEN[kind]
