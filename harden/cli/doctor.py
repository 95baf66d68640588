"""harden doctor."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from harden import kernels
from harden.certificate.optimisation_levels import TESTED
from harden.cli.console import say_table, write_json
from harden.models import bfloat16_is_native

_PACKAGES = ("harden", "torch", "torchvision", "onnx", "onnxruntime", "onnxscript", "numpy", "scikit-learn")


def doctor(json_file: Path | None) -> int:
    """Say what is installed and what runs; 1 where a compiled library is there and does not load."""
    found = _findings()
    say_table(("", ""), [(name, str(value)) for name, value in found.items()])
    write_json(json_file, found)
    failed = [name for name, value in found.items() if name.startswith("kernels") and "FAILED" in str(value)]
    return 1 if failed else 0


def _findings() -> dict[str, Any]:
    found: dict[str, Any] = {"python": f"{platform.python_version()} on {platform.platform()}"}
    found |= {name: _version(name) for name in _PACKAGES}
    found["proofs"] = proofs_with(found["onnxruntime"])
    found["threads"] = torch.get_num_threads()
    native = bfloat16_is_native("cpu")
    found["bfloat16 on cpu"] = "in hardware" if native else "emulated: --bfloat16 is slower than without"
    found["CUDA of torch"] = torch.version.cuda or "none: this torch is built for the CPU"
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found["CUDA devices"] = ", ".join(devices) or "none"
    found |= {f"compiler {name}": _first_line(name) for name in ("c++", "nvcc")}
    for kind in ("cpu", "cuda"):
        backend = kernels.backend(kind)
        state = "FAILED to load, plain torch instead" if backend.failed else backend.name
        found[f"kernels on {kind}"] = f"{state}: {backend.reason}"
    return found


def proofs_with(installed: str) -> str:
    """Whether the installed runtime is one that bounds were tested with."""
    if installed == "not installed":
        return "none without onnxruntime"
    if _numbers(installed) > _numbers(TESTED):
        return (
            f"onnxruntime {installed} is newer than {TESTED}, the newest that bounds were tested with: "
            "what its graph optimisation writes is read and compared all the same, and refused where unknown"
        )
    return f"bounds were tested with onnxruntime up to {TESTED}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _first_line(command: str) -> str:
    path = shutil.which(command)
    if path is None:
        return "not found; an installed wheel needs none"
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=20)  # noqa: S603  # a path from which()
    lines = [line for line in answer.stdout.splitlines() if line.strip()]
    return (lines[-1] if command == "nvcc" else lines[0]) if lines else "found, and says nothing"
