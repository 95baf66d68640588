"""Exit codes beside 0, good, and 1, the answer is bad."""

from __future__ import annotations

import errno

USAGE = 2
OUR_FAULT = 70
INTERRUPTED = 130
TERMINATED = 143
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
