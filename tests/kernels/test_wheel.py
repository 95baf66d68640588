"""The wheel: one for every torch and Python, with the modules and nothing they were made of."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SOURCES = ["CMakeLists.txt", "LICENSE", "README.md", "cpp_ext", "harden", "pyproject.toml"]


def _build(folder: Path, **environment: str) -> zipfile.ZipFile:
    """Builds the wheel of a copy of the sources, as `pip wheel .` does, and opens it."""
    if importlib.util.find_spec("scikit_build_core") is None:
        pytest.skip("needs scikit-build-core in this environment: pip install 'scikit-build-core>=0.11'")
    source = folder / "source"
    source.mkdir()
    litter = shutil.ignore_patterns("__pycache__", "CMakeFiles", "CMakeCache.txt", "modules", "*.ninja")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=litter)
        else:
            shutil.copy(ROOT / name, source)
    # What an editable install or an older build left behind must not travel.
    (source / "harden" / "kernels" / "_cuda.so").write_bytes(b"stale")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        "..",
    ]
    unset = {name: value for name, value in os.environ.items() if not name.startswith("HARDEN_")}
    done = subprocess.run(
        command, cwd=source, env=unset | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


def _tags(wheel: zipfile.ZipFile) -> list[str]:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/WHEEL")]
    lines = wheel.read(name).decode().splitlines()
    return [line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")]


def _assert_whole_and_clean(wheel: zipfile.ZipFile) -> None:
    """Every file stands in RECORD with its digest, belongs to the package, and is no part of the build."""
    names = wheel.namelist()
    (record,) = [name for name in names if name.endswith(".dist-info/RECORD")]
    rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
    assert sorted(row[0] for row in rows) == sorted(names)
    for name, digest, size in rows:
        if name != record:
            content = wheel.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={expected}", len(content))
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"harden", "harden_vision"}
    assert [name for name in names if "libtorch" in name or "cpp_ext" in name or name.endswith(".cpp")] == []
    assert "harden/kernels/load_library.py" in names
    assert "harden/py.typed" in names


def _modules(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if name.endswith(".so")}


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_the_wheel_holds_the_compiled_library(tmp_path: Path) -> None:
    with _build(tmp_path, HARDEN_CUDA="0") as wheel:
        (tag,) = _tags(wheel)
        assert tag.startswith("py3-none-linux_")
        assert _modules(wheel) == {"harden/kernels/_cpu.so"}
        assert wheel.read("harden/kernels/_cpu.so")[:4] == b"\x7fELF"
        _assert_whole_and_clean(wheel)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_the_wheel_holds_the_cuda_module_where_there_is_nvcc(tmp_path: Path) -> None:
    with _build(tmp_path) as wheel:
        assert _modules(wheel) == {"harden/kernels/_cpu.so", "harden/kernels/_cuda.so"}
        assert b"libtorch_cuda.so" in wheel.read("harden/kernels/_cuda.so")
        _assert_whole_and_clean(wheel)


def test_the_pure_wheel_needs_no_compiler(tmp_path: Path) -> None:
    with _build(tmp_path, HARDEN_PURE="1", CC="/bin/false", CXX="/bin/false", CUDACXX="/bin/false") as wheel:
        assert _tags(wheel) == ["py3-none-any"]
        assert _modules(wheel) == set()
        _assert_whole_and_clean(wheel)
