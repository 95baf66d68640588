"""Error rates of the gate on simulated pairs, by n, discordance and true drop, next to "drop > 2 points".

    python benchmarks/gate.py --record

Claim: without a drop the verdict is FAIL in at most 5 % of cases; a true drop of the margin (2 points) passes
in at most 5 %; a true drop of twice the margin is found in at least 95 % at n = 1,000 and discordance up to
12 %; each with two standard errors of the simulation to spare. The verdicts are those of `harden.regression`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import numpy as np

from benchmarks.peering import provenance
from harden.regression.paired_comparison import Pairs
from harden.regression.verdict import Comparison, GateAnswer, Rule, judge

RECORD = provenance.RESULTS / "gate.jsonl"
SIZES = (200, 500, 1000, 2000, 5000)
DISCORDANCES = (0.02, 0.04, 0.06, 0.12, 0.25)
DROPS = (0.0, 0.01, 0.02, 0.04)
ACCURACY = 0.53  # before; it has no part in a verdict but by the room for losses
MARGIN, ALPHA = 0.02, 0.05


@final
@dataclass(frozen=True, slots=True)
class Cell:
    """Shares of the repetitions in which each answer was given.

    Attributes:
        n: images.
        discordance: share of images that the two models answer differently, as to right and wrong.
        drop: the true drop of accuracy.
        repetitions: how many were drawn.
        passed: PASS.
        failed: FAIL.
        naive: what "drop > margin" calls a regression.
    """

    n: int
    discordance: float
    drop: float
    repetitions: int
    passed: float
    failed: float
    naive: float

    @property
    def undecided(self) -> float:
        """INCONCLUSIVE."""
        return max(0.0, 1.0 - self.passed - self.failed)


def simulated(n: int, discordance: float, drop: float, repetitions: int, seed: int) -> Cell:
    """Draw pairs and judge them; equal draws are judged once."""
    generator = np.random.default_rng([seed, n, round(1e6 * discordance), round(1e6 * drop)])
    gain, loss = (discordance - drop) / 2, (discordance + drop) / 2
    both = ACCURACY - loss
    drawn = generator.multinomial(n, [gain, loss, both, 1 - gain - loss - both], size=repetitions)
    pairs, counts = np.unique(drawn[:, :2], axis=0, return_counts=True)
    totals = dict.fromkeys(GateAnswer, 0)
    for (gained, lost), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        totals[answer(n, gained, lost)] += count
    naive = int(counts[(pairs[:, 1] - pairs[:, 0]) / n > MARGIN].sum())
    passed, failed = (totals[state] / repetitions for state in (GateAnswer.PASS, GateAnswer.FAIL))
    return Cell(n, discordance, drop, repetitions, passed, failed, naive / repetitions)


def answer(n: int, gained: int, lost: int) -> GateAnswer:
    """The gate's own verdict."""
    return judge([Comparison("simulated", "robust", Pairs(n, 0, gained, lost))], Rule(MARGIN, ALPHA)).state


def cells(sizes: tuple[int, ...], repetitions: int, seed: int) -> Iterator[Cell]:
    """All cells that can be: a drop is at most the discordance."""
    for n in sizes:
        for discordance in DISCORDANCES:
            for drop in DROPS:
                if drop <= discordance:
                    yield simulated(n, discordance, drop, repetitions, seed)


def broken_claims(found: list[Cell]) -> list[str]:
    """The claims of the header that the cells contradict, by more than two standard errors."""
    broken = []
    for cell in found:
        slack = 2 * math.sqrt(ALPHA * (1 - ALPHA) / cell.repetitions)
        where = f"n = {cell.n}, discordance {cell.discordance}"
        if cell.drop == 0 and cell.failed > ALPHA + slack:
            broken.append(f"false FAIL {cell.failed:.4f} at {where}")
        if cell.drop == MARGIN and cell.passed > ALPHA + slack:
            broken.append(f"false PASS {cell.passed:.4f} at {where}")
        easy = cell.n >= 1000 and cell.discordance <= 0.12
        if cell.drop == 2 * MARGIN and easy and cell.failed < 1 - ALPHA - slack:
            broken.append(f"found {cell.failed:.4f} of twice the margin at {where}")
    return broken


def table(found: list[Cell]) -> str:
    """The main cells as Markdown: a row for each n and discordance, the gate next to the rule."""
    rows = [
        "| n | discordance | no drop: FAIL | undecided | rule alarms | drop of 2: PASS | rule misses "
        "| drop of 4: FAIL | rule finds |",
        "|" + "---|" * 9,
    ]
    by_key = {(cell.n, cell.discordance, cell.drop): cell for cell in found}
    for n, discordance in sorted({(cell.n, cell.discordance) for cell in found}):
        none, margin = (by_key[n, discordance, drop] for drop in (0.0, MARGIN))
        twice = by_key.get((n, discordance, 2 * MARGIN))
        shares = [none.failed, none.undecided, none.naive, margin.passed, 1 - margin.naive]
        shares += [twice.failed, twice.naive] if twice else []
        written = [f"{100 * share:.1f} %" for share in shares] + ["" for _ in range(7 - len(shares))]
        rows.append(" | ".join([f"| {n:,}", f"{100 * discordance:g} %", *written]) + " |")
    return "\n".join(rows)


def main(words: list[str] | None = None) -> int:
    """Simulate, print the table, and say which claim does not hold: exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="add a line to results/gate.jsonl")
    given = parser.parse_args(words)
    found = list(cells(SIZES, given.repetitions, given.seed))
    broken = broken_claims(found)
    print(table(found))
    print("\n".join(broken) or "every claim holds")
    if given.record:
        line = {
            "margin": MARGIN,
            "alpha": ALPHA,
            "seed": given.seed,
            "broken": broken,
            "cells": [asdict(cell) for cell in found],
        }
        provenance.append(RECORD, json.loads(json.dumps({**line, **provenance.origin()})))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
