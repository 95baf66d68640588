"""One process at a time on a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harden.errors import InputError
from harden.system.folder_lock import LOCK_FILE, locked

HOLD = """
import sys, time
from pathlib import Path
from harden.system.folder_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_refused_and_a_killed_one_leaves_the_folder_free(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        try:
            with pytest.raises(InputError) as refused, locked(tmp_path):
                pytest.fail("two processes hold the folder")
            assert f"another process ({first.pid})" in refused.value.seen
            assert "another folder" in refused.value.instead
            # Being refused leaves the lock where it is.
            assert (tmp_path / LOCK_FILE).exists()
        finally:
            first.send_signal(signal.SIGKILL)
    with locked(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_one_process_may_hold_it_again_and_only_the_outermost_lets_go(tmp_path: Path) -> None:
    with locked(tmp_path):
        with locked(tmp_path / "." / ""):
            pass
        assert (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / LOCK_FILE).exists()


def test_it_lets_go_when_the_body_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    with holder(tmp_path) as other:
        other.kill()


def test_a_lock_file_left_by_a_killed_process_does_not_hold(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("12345\n")
    with locked(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_file_system_without_locks_is_said_and_not_fatal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import errno
    import fcntl

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path):
        pass
    assert "without locks" in caplog.text


def test_another_thread_is_refused(tmp_path: Path) -> None:
    seen: list[str] = []

    def enter() -> None:
        try:
            with locked(tmp_path):
                seen.append("inside")
        except InputError as error:
            seen.append(error.seen)

    with locked(tmp_path):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert seen == [f"{tmp_path}, which another thread is writing to"]


def test_a_forked_worker_that_outlives_the_process_does_not_hold_the_folder(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom harden.system.folder_lock import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    if os.fork() == 0:\n        print('worker', os.getpid(), flush=True)\n        time.sleep(60)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        worker = int(first.stdout.readline().split()[1])
        first.kill()
        first.wait()
        try:
            os.kill(worker, 0)  # it lives
            with locked(tmp_path):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["link", "hard link", "link to nowhere", "pipe", "folder"])
def test_a_planted_lock_is_refused_and_what_it_leads_to_stays(tmp_path: Path, kind: str) -> None:
    """As in a cloned repository: .harden-lock -> ../.ssh/authorized_keys."""
    secret, folder = tmp_path / "authorized_keys", tmp_path / "cloned"
    secret.write_text("ssh-ed25519 AAAA\n")
    folder.mkdir()
    lock = folder / LOCK_FILE
    if kind == "hard link":
        lock.hardlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to("../authorized_keys" if kind == "link" else "../nowhere")
    with pytest.raises(InputError) as refused, locked(folder):
        pytest.fail("the lock is taken")
    assert str(lock) in refused.value.seen
    assert secret.read_text() == "ssh-ed25519 AAAA\n"
    assert not (tmp_path / "nowhere").exists()
