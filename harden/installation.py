"""The state of an installation: versions, compiled kernels, devices, compilers, conflicts."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from harden.certificate.optimisation_levels import TESTED
from harden.system.package_metadata import NAME, VERSION, installed, namesake

_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "onnxscript", "numpy", "scikit-learn")
_SCRIPT, _IN_THE_WAY = "harden", "IN THE WAY"


def state() -> dict[str, Any]:
    """Versions of harden and its requirements, the kernels in use with the reason, devices and compilers.

    Lines that begin with "IN THE WAY" name another project's files; see `is_broken`.
    """
    found: dict[str, Any] = {"python": f"{platform.python_version()} on {platform.platform()}"}
    found["harden"] = f"{VERSION}, in {Path(__file__).parents[1]}"
    found["distribution"] = _distribution()
    found |= {f"{_IN_THE_WAY} {number}": line for number, line in enumerate(in_the_way(), 1)}
    found |= {name: _version(name) for name in _PACKAGES}
    found["proofs"] = proofs_with(found["onnxruntime"])
    found |= _of_torch()
    found |= {f"compiler {name}": _first_line(name) for name in ("c++", "nvcc")}
    return found


def is_broken(found: dict[str, Any]) -> bool:
    """Whether a compiled library is there and does not load, or another project's `harden` is in the way."""
    failed = any(name.startswith("kernels") and "FAILED" in str(value) for name, value in found.items())
    return failed or any(name.startswith(_IN_THE_WAY) for name in found)


def _of_torch() -> dict[str, Any]:
    """Devices, threads and kernels of torch; without torch, the commands that work without it."""
    try:
        import torch

        from harden import kernels
        from harden.models import bfloat16_is_native
    except ImportError as error:
        reason = " ".join(str(error).split())[:200]
        only = f"none ({reason}): verify and report work, and harden.load; for the rest pip install {NAME}"
        return {"kernels on cpu": only}
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    native = bfloat16_is_native("cpu")
    found["bfloat16 on cpu"] = "in hardware" if native else "emulated: --bfloat16 is slower than without"
    found["CUDA of torch"] = torch.version.cuda or "none: this torch is built for the CPU"
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found["CUDA devices"] = ", ".join(devices) or "none"
    for kind in ("cpu", "cuda"):
        backend = kernels.backend(kind)
        state = "FAILED to load, plain torch instead" if backend.failed else backend.name
        found[f"kernels on {kind}"] = f"{state}: {backend.reason}"
    return found


def _distribution() -> str:
    found = installed()
    if found is None:
        return f"none: this is a folder of sources; pip install it for {NAME}'s scripts and its pytest plugin"
    name = found.metadata["Name"]
    if name != NAME:
        return f"{name} {found.version}, from before it was called {NAME}: install it again"
    return f"{name} {found.version}"


def in_the_way() -> list[str]:
    """Files of the other project called `harden` in this environment, a line each."""
    lines, other = [], namesake()
    if other is not None:
        lines.append(
            f"the distribution harden {other.version} is another project's and has our module's and script's "
            f"name: pip uninstall harden, then pip install --force-reinstall {NAME}"
        )
    script = shutil.which(_SCRIPT)
    if script is not None and not _is_our_script(Path(script)):
        lines.append(
            f"{script}, which the shell runs for `harden`, is not this project's: write python -m harden, or "
            f"pip install --force-reinstall {NAME}"
        )
    return lines


def _is_our_script(path: Path) -> bool:
    """Whether a script is the one an installer makes of our entry point; an unreadable one counts as ours."""
    try:
        content = path.read_bytes()
    except OSError:
        return True
    return b"harden.cli" in content


def proofs_with(installed: str) -> str:
    """Whether bounds were tested with the installed onnxruntime, in words."""
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
