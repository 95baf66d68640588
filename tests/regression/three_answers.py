"""Three comparisons, one of each answer, and their verdict."""

from __future__ import annotations

from harden.regression.paired_comparison import Pairs
from harden.regression.verdict import Comparison, Rule, judge

COMPARISONS = (
    Comparison("linf 8/255", "robust", Pairs(1000, 500, 10, 50)),
    Comparison("linf 8/255", "clean", Pairs(1000, 900, 20, 30), remarks=("other versions",)),
    Comparison("l2 1/2", "robust", Pairs(1000, 400, 10, 8)),
)
VERDICT = judge(COMPARISONS, Rule(floor=(("robust", 0.1),)))
