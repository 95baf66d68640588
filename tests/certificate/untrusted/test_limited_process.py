"""A child process answers within limits of memory and time, and every end of it is reported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harden.certificate.untrusted.limited_process import child
from harden.system.size_limits import PROCESS_BYTES

SERVE = "from harden.certificate.untrusted.limited_process import serve\n"
ECHO = SERVE + "serve(lambda content: content[::-1], str)"


def test_requests_are_answered_in_order_whatever_their_bytes() -> None:
    with child(ECHO, 60) as process:
        for content in (b"", b"abc", bytes(range(256)) * 5_000):
            assert process.request(content, len(content)) == content[::-1]


def test_output_of_the_child_is_no_part_of_an_answer() -> None:
    noisy = (
        "import os\n"
        + SERVE
        + "serve(lambda content: (print('noise', flush=True), os.write(1, b'+'), content)[2], str)"
    )
    with child(noisy, 60) as process:
        assert process.request(b"one", 3) == b"one"
        assert process.request(b"two", 3) == b"two"


def test_an_error_of_the_child_is_its_message() -> None:
    failing = SERVE + "serve(lambda content: 1 / 0, lambda error: f'no: {error}')"
    with child(failing, 60) as process, pytest.raises(ValueError, match=r"^no: division by zero$"):
        process.request(b"x", 10)


def test_an_answer_that_is_too_long_is_not_read() -> None:
    long = SERVE + "serve(lambda content: bytes(10_000), str)"
    with child(long, 60) as process, pytest.raises(ValueError, match="an answer of 10001 bytes"):
        process.request(b"x", 10)


@pytest.mark.parametrize(
    ("code", "seconds", "how"),
    [
        ("raise SystemExit(7)", 60, "exit code 7"),
        ("import os; os.kill(os.getpid(), 9)", 60, "exit code -9"),
        ("import time; time.sleep(60)", 0.2, "no answer within 0.2 s"),
    ],
)
def test_how_a_child_ended_is_said(code: str, seconds: float, how: str) -> None:
    with child(code, seconds) as process, pytest.raises(ValueError, match=f"process ended \\(.*{how}"):
        process.request(b"x" * 100_000, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
def test_memory_beyond_the_limit_is_an_error_of_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESS_BYTES.variable, str(2**26))
    code = (
        "from harden.certificate.untrusted.limited_process import limit_memory, serve\n"
        "limit_memory(2**20)\n"
        "serve(lambda n: str(len(bytearray(int(n)))).encode(), lambda error: type(error).__name__)"
    )
    with child(code, 60) as process:
        assert process.request(b"%d" % 2**24, 100) == b"%d" % 2**24
        with pytest.raises(ValueError, match=r"^MemoryError$"):
            process.request(b"%d" % 2**28, 100)


def test_modules_in_the_working_folder_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the folder of a file that nobody trusts."""
    (tmp_path / "struct.py").write_text("raise SystemExit(5)")
    (tmp_path / "planted.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", os.fspath(tmp_path), *sys.path])
    asked = SERVE + "import importlib.util as u\nserve(lambda c: str(u.find_spec('planted')).encode(), str)"
    with child(asked, 60) as process:
        assert process.request(b"", 100) == b"None"
