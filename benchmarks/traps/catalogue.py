"""All kinds of traps."""

from __future__ import annotations

from typing import Final

from benchmarks.traps.accumulated import ACCUMULATED_KINDS
from benchmarks.traps.chained import CHAINED_KINDS
from benchmarks.traps.composed import COMPOSED_KINDS
from benchmarks.traps.folded import FOLDED_KINDS
from benchmarks.traps.frame import Kind
from benchmarks.traps.reduced import REDUCED_KINDS
from benchmarks.traps.sums import SUM_KINDS
from benchmarks.traps.values import VALUE_KINDS
from benchmarks.traps.windows import WINDOW_KINDS

KINDS: Final[tuple[Kind, ...]] = (
    *FOLDED_KINDS,
    *ACCUMULATED_KINDS,
    *CHAINED_KINDS,
    *WINDOW_KINDS,
    *SUM_KINDS,
    *REDUCED_KINDS,
    *VALUE_KINDS,
    *COMPOSED_KINDS,
)
