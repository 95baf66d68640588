"""Exit codes."""

from __future__ import annotations

import errno

GOOD, BAD = 0, 1
"""The answer is good, or bad: see `harden.cli.output.unreliable_exit.exit_code`."""

USAGE = 2
OUR_FAULT = 70
INTERRUPTED = 130
TERMINATED = 143
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
