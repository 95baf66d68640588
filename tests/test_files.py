"""Files are there whole or not at all."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from harden.errors import InputError
from harden.files import check_regular, read_bytes, write_bytes, write_text
from harden.limits import MODEL_BYTES, Limit


def test_it_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    write_bytes(path, b"one")
    assert path.read_bytes() == b"one"
    write_bytes(path, b"")
    assert path.read_bytes() == b""
    write_text(path, "ε ≤ 8/255\n")
    assert path.read_bytes() == "ε ≤ 8/255\n".encode()
    assert os.listdir(tmp_path) == ["certificate.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interruption_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_the_content_is_on_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, order = tmp_path / "file", []
    fsync, replace = os.fsync, os.replace

    def log_fsync(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            order.append(f"fsync {os.fstat(handle).st_size} bytes")
        fsync(handle)

    def log_replace(source: str, target: str) -> None:
        order.append(f"rename {Path(source).read_bytes()!r}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(os, "replace", log_replace)
    write_bytes(path, b"whole")
    assert order == ["fsync 5 bytes", "rename b'whole'"]


def test_others_may_read_the_file(tmp_path: Path) -> None:
    """A temporary file is private; an artefact is there to be handed on."""
    write_bytes(tmp_path / "file", b"x")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "nowhere" / "file", b"x")
    assert os.listdir(tmp_path) == []


def test_the_name_is_on_disk_too_once_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    fsync = os.fsync

    def log(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            flushed.append(tmp_path)
            assert (tmp_path / "file").read_bytes() == b"whole"
        fsync(handle)

    monkeypatch.setattr(os, "fsync", log)
    write_bytes(tmp_path / "file", b"whole")
    assert flushed == [tmp_path]


def test_a_file_system_that_flushes_no_folders_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError("Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    write_bytes(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


ROOM = Limit("ROOM", 5, "bytes", "five fit")


def test_a_regular_file_is_read_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"12345")
    assert read_bytes(path, ROOM) == b"12345"
    path.write_bytes(b"123456")
    with pytest.raises(InputError, match=r"model\.onnx of 6 bytes; expected at most 5; set HARDEN_MOST_ROOM"):
        read_bytes(path, ROOM)
    monkeypatch.setenv("HARDEN_MOST_ROOM", "6")
    assert read_bytes(path, ROOM) == b"123456"


def test_a_file_that_is_large_by_name_alone_is_not_read(tmp_path: Path) -> None:
    """A hole of a petabyte takes no place on the disk."""
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="1,099,511,627,776 bytes"):
        read_bytes(path, MODEL_BYTES)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/dev/stdin", "pipe", "socket"])
def test_what_may_never_end_or_begin_is_not_read(name: str, tmp_path: Path) -> None:
    path = Path(name) if name.startswith("/") else tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
    if name == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    if name == "/dev/stdin" and stat.S_ISREG(os.fstat(0).st_mode):
        return
    for read in (lambda: read_bytes(path, MODEL_BYTES), lambda: check_regular(path)):
        with pytest.raises(OSError, match=r"no regular file|No such device"):
            read()


def test_a_folder_and_a_file_that_says_too_little_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_bytes(tmp_path, MODEL_BYTES)
    proc = Path("/proc/self/status")
    if proc.exists():
        with pytest.raises(OSError, match="more than its size says"):
            read_bytes(proc, MODEL_BYTES)
