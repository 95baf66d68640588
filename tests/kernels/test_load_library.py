"""What runs is decided once and said in words; a library that is present and fails is never silent."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harden import kernels
from harden.kernels import load_library


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("2.9.1", (2, 9)),
        ("2.10.0", (2, 10)),
        ("2.14.1+cu130", (2, 14)),
        ("3.0.0a0+git1f2", (3, 0)),
        ("main", (0, 0)),
    ],
)
def test_versions_are_numbers_not_strings(version: str, release: tuple[int, int]) -> None:
    assert load_library.torch_release(version) == release
    assert (load_library.torch_release(version) >= load_library.OLDEST_TORCH) == (release >= (2, 10))


def test_a_backend_is_a_frozen_value_with_a_reason() -> None:
    chosen = kernels.backend()
    assert chosen.name in ("native", "torch")
    assert chosen.reason
    assert (chosen.name == "native") == (chosen.modules == ("_cpu",)) == bool(chosen.build)
    assert kernels.backend("cpu") is kernels.backend(torch.device("cpu")) is chosen
    with pytest.raises(dataclasses.FrozenInstanceError):
        chosen.name = "torch"  # type: ignore[misc]


def test_other_devices_run_plain_torch() -> None:
    chosen = kernels.backend("meta")
    assert (chosen.name, chosen.failed) == ("torch", False)
    assert "meta" in chosen.reason


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_a_device_runs_plain_torch() -> None:
    chosen = kernels.backend("cuda")
    assert (chosen.name, chosen.failed) == ("torch", False)
    assert chosen.reason


def test_a_pure_python_installation_says_so(tmp_path: Path) -> None:
    chosen = load_library.choose("_cpu", folder=tmp_path, environment={})
    assert (chosen.name, chosen.failed) == ("torch", False)
    assert "not installed" in chosen.reason


def test_an_old_torch_runs_plain_torch(tmp_path: Path) -> None:
    (tmp_path / "_cpu.so").write_bytes(b"never read")
    chosen = load_library.choose("_cpu", folder=tmp_path, environment={}, torch_version="2.9.1+cpu")
    assert (chosen.name, chosen.failed) == ("torch", False)
    assert "2.9.1" in chosen.reason
    assert "2.10" in chosen.reason


def test_harden_native_0_asks_for_plain_torch() -> None:
    program = (
        "import torch; from harden import kernels\n"
        "x = torch.full((1, 2), 0.5); x_adv = x.clone()\n"
        "kernels.linf_step_(x_adv, x, torch.ones_like(x), torch.tensor(1.0), torch.tensor(0.25), 0.0, 1.0)\n"
        "chosen = kernels.backend()\n"
        "native = hasattr(torch.ops.harden, 'linf_step_')\n"
        "print(chosen.name, chosen.failed, native, x_adv.tolist(), chosen.reason)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"HARDEN_NATIVE": "0"},
        cwd=Path(load_library.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("torch False False [[0.75, 0.75]] HARDEN_NATIVE=0")


def _assert_reported(folder: Path, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    with caplog.at_level(logging.WARNING, logger="harden"):
        chosen = load_library.choose("_cpu", folder=folder, environment={})
    assert (chosen.name, chosen.failed, chosen.modules) == ("torch", True, ())
    assert reason in chosen.reason
    assert len(caplog.records) == 1
    assert reason in caplog.text


def test_a_file_that_is_no_library_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "_cpu.so").write_bytes(b"not a library")
    _assert_reported(tmp_path, caplog, "not a 64-bit ELF file")


def test_an_unreadable_file_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "_cpu.so").mkdir()
    _assert_reported(tmp_path, caplog, "directory")


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.999])
def test_a_truncated_library_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: float
) -> None:
    whole = (load_library.FOLDER / "_cpu.so").read_bytes()
    (tmp_path / "_cpu.so").write_bytes(whole[: int(len(whole) * kept)])
    _assert_reported(tmp_path, caplog, "cut short")


@pytest.mark.usefixtures("native")
def test_a_library_of_another_build_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(load_library.FOLDER / "_cpu.so", tmp_path)
    monkeypatch.setattr(load_library, "INTERFACE", 99)
    _assert_reported(tmp_path, caplog, "build it again")


@pytest.mark.usefixtures("native")
def test_a_registration_that_torch_refuses_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(load_library.FOLDER / "_cpu.so", tmp_path)  # its operations are registered already
    _assert_reported(tmp_path, caplog, "torch refused the operations")


@pytest.mark.usefixtures("native")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, and so a driver, here")
def test_a_cuda_module_without_its_driver_says_so() -> None:
    path = load_library.FOLDER / "_cuda.so"
    if not path.exists() or torch.version.cuda is None:
        pytest.skip("needs the CUDA module and a torch built for CUDA")
    with pytest.raises(load_library.LoadError, match="driver is older"):
        load_library.load_module(path)


@pytest.mark.usefixtures("native")
def test_the_right_library_loads_in_a_fresh_process() -> None:
    program = "from harden import kernels; print(kernels.backend())"
    root = Path(load_library.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Backend(name='native'")
    assert done.stderr == ""
