"""Where a figure comes from: machine, versions, commit, date."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
_PEERS = ("torchattacks", "foolbox", "eagerpy", "adversarial-robustness-toolbox")


def machine() -> dict[str, Any]:
    """CPU name, the flags that decide about bfloat16, cores, and what else runs just now."""
    fields: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    flags = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "model": fields.get("model", ""),
        **{flag: flag in flags for flag in _FLAGS},
        "cores": os.cpu_count(),
        "load": load(),
        "system": platform.system(),
    }


def load() -> float | None:
    """The load average of the last minute; other people's work makes every figure worth less."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions(autoattack: Path | None = None) -> dict[str, str]:
    """Versions of what takes part; AutoAttack has none, so a digest of its file stands for it."""
    import torch

    from harden import kernels
    from harden.system.package_metadata import VERSION

    found = {"python": platform.python_version(), "torch": torch.__version__, "harden": VERSION}
    for name in ("numpy", *_PEERS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    backend = kernels.backend()
    found["kernels"] = f"{backend.name}: {backend.build or backend.reason}"
    if autoattack is not None and (source := autoattack / "autoattack" / "autopgd_base.py").exists():
        found["autoattack"] = f"autopgd_base.py sha256 {hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    return found


def commit() -> str:
    """The commit, with a mark where tracked files other than results differ from it."""
    try:
        found = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{found}-changed" if changed else found


def date() -> str:
    """Now, in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def origin(autoattack: Path | None = None) -> dict[str, Any]:
    """All of these, for a line of a record."""
    return {"machine": machine(), "versions": versions(autoattack), "commit": commit(), "date": date()}


def append(path: Path, line: dict[str, Any]) -> None:
    """Write one more JSON line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line, sort_keys=True) + "\n")


def recorded(path: Path) -> list[dict[str, Any]]:
    """The JSON lines that are there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _git(*words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout.strip()
