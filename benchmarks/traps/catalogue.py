"""All kinds of traps."""

from __future__ import annotations

from typing import Final

from benchmarks.traps.folded import FOLDED_KINDS
from benchmarks.traps.frame import Kind
from benchmarks.traps.values import VALUE_KINDS
from benchmarks.traps.windows import WINDOW_KINDS

KINDS: Final[tuple[Kind, ...]] = (*FOLDED_KINDS, *VALUE_KINDS, *WINDOW_KINDS)
