"""Comparisons on their way between processes: as JSON there, and judged again here to the same verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harden.regression.paired_comparison import Pairs
from harden.regression.verdict import Comparison, Rule, Verdict, judge


def packed(comparisons: Sequence[Comparison], rule: Rule) -> dict[str, Any]:
    """Write down what was compared and by which rule: values of JSON alone."""
    return {"comparisons": [asdict(each) for each in comparisons], "rule": asdict(rule)}


def unpacked(fields: Mapping[str, Any]) -> Verdict:
    """Judge what `packed` wrote down, after a trip through JSON."""
    comparisons = [
        Comparison(
            check=each["check"],
            measure=each["measure"],
            pairs=Pairs(**each["pairs"]),
            broken=tuple(each["broken"]),
            remarks=tuple(each["remarks"]),
            left=int(each["left"]),
        )
        for each in fields["comparisons"]
    ]
    rule = fields["rule"]
    floor = tuple((str(name), float(least)) for name, least in rule["floor"])
    return judge(comparisons, Rule(rule["margin"], rule["alpha"], floor))
