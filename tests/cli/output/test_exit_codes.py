"""Exit codes: what a shell and sysexits.h mean by them, and none twice."""

from __future__ import annotations

import errno
import os
import signal

from harden.cli.output.exit_codes import BAD, GOOD, INTERRUPTED, NO_ROOM, OUR_FAULT, TERMINATED, USAGE
from harden.errors import InputError


def test_a_code_of_a_signal_is_that_of_a_shell() -> None:
    assert INTERRUPTED == 128 + signal.SIGINT
    assert TERMINATED == 128 + signal.SIGTERM


def test_the_other_codes_are_the_usual_ones() -> None:
    assert (GOOD, BAD, USAGE) == (0, 1, 2)
    assert OUR_FAULT == os.EX_SOFTWARE
    assert InputError("a", "b", "c").exit_code == USAGE


def test_no_code_has_two_meanings() -> None:
    codes = (GOOD, BAD, USAGE, OUR_FAULT, INTERRUPTED, TERMINATED)
    assert len(set(codes)) == len(codes)
    assert all(0 <= code < 256 for code in codes)


def test_no_room_is_a_full_disk_or_a_full_quota() -> None:
    assert set(NO_ROOM) == {errno.ENOSPC, errno.EDQUOT}
