"""Files are there whole or not at all."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harden.errors import InputError
from harden.system.atomic_files import (
    append_bytes,
    append_named,
    check_regular,
    read_bytes,
    shorten,
    write_bytes,
    write_named,
    write_text,
)
from harden.system.size_limits import MODEL_BYTES, SizeLimit


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


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077, 0o027])
def test_who_may_read_the_file_is_for_the_umask_to_say(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "file", b"x")
        append_bytes(tmp_path / "lines", b"x")
    finally:
        os.umask(before)
    for name in ("file", "lines"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


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


ROOM = SizeLimit("ROOM", 5, "bytes", "five fit")


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
        with pytest.raises(OSError, match="more than its size"):
            read_bytes(proc, MODEL_BYTES)


SECRET = b"ssh-ed25519 AAAA the user's own\n"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the user's outside of the folder that a stranger has prepared."""
    path = tmp_path / "home" / "authorized_keys"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    (tmp_path / "cloned").mkdir()
    return path


def _chain(path: Path, secret: Path) -> None:
    path.with_name("between").symlink_to(secret)
    path.symlink_to("between")


Plant = Callable[[Path, Path], None]
PLANTS: dict[str, Plant] = {
    "link": lambda path, secret: path.symlink_to(os.path.relpath(secret, path.parent)),
    "absolute": lambda path, secret: path.symlink_to(secret),
    "hard": lambda path, secret: path.hardlink_to(secret),
    "chain": lambda path, secret: _chain(path, secret),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
@pytest.mark.parametrize("write", [write_bytes, write_named], ids=["own", "named"])
def test_what_a_planted_name_leads_to_stays(
    secret: Path, tmp_path: Path, plant: Plant, write: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "cloned" / "report.html"
    plant(path, secret)
    write(path, b"page")
    assert secret.read_bytes() == SECRET
    assert path.read_bytes() == b"page"
    assert not path.is_symlink()


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
@pytest.mark.parametrize(
    "change",
    [
        lambda path: append_bytes(path, b"{}"),
        lambda path: append_named(path, b"{}"),
        lambda path: shorten(path, 0),
    ],
    ids=["append", "named", "shorten"],
)
def test_nothing_is_changed_in_place_under_a_planted_name(
    secret: Path, tmp_path: Path, plant: Plant, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "cloned" / "history.jsonl"
    plant(path, secret)
    with pytest.raises(InputError, match="link"):
        change(path)
    assert secret.read_bytes() == SECRET


def test_a_link_to_nowhere_makes_no_file_there(tmp_path: Path) -> None:
    (tmp_path / "new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="link"):
        append_bytes(tmp_path / "new", b"x")
    write_bytes(tmp_path / "new", b"x")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "touch",
    [
        lambda path: write_bytes(path, b"x"),
        lambda path: append_bytes(path, b"x"),
        lambda path: shorten(path, 0),
        lambda path: read_bytes(path, MODEL_BYTES),
    ],
    ids=["write", "append", "shorten", "read"],
)
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a pipe"])
def test_what_is_no_file_is_refused_and_keeps_nobody_waiting(
    tmp_path: Path, kind: str, touch: Callable[[Path], object]
) -> None:
    path = tmp_path / "report.html"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    try:
        touch(path)
    except (InputError, OSError):
        return
    # A link is replaced by the file, and nobody has opened the pipe.
    assert path.is_file()
    assert not path.is_symlink()


def test_a_device_that_the_user_names_is_written_to(tmp_path: Path) -> None:
    write_named(Path(os.devnull), b"x")
    assert not Path(os.devnull).is_file()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_named(tmp_path / "pipe", "x")
        assert os.read(reader, 8) == b"x"
    finally:
        os.close(reader)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("into", ["pipe", "file"])
def test_standard_output_may_be_named(tmp_path: Path, name: str, into: str) -> None:
    code = (
        "from pathlib import Path\nfrom harden.system.atomic_files import write_named\n"
        f"write_named(Path({name!r}), 'answer')"
    )
    if into == "pipe":
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert ran.stdout == b"answer"
        return
    with (tmp_path / "out").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out").read_bytes() == b"answer"
