"""Probability that the gate passes a drop of the margin itself: exact sums over all pairs, no draws.

    python benchmarks/gate_coverage.py --record

Claim: at alpha 5 % the largest chance of a false pass is at most 5.01 %, over n from 10 to 10,000, with
discordances from the margin to 1 and margins of 0.5, 1, 2 and 5 points; at most 5 % where at least half of
the images are answered alike.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from itertools import product
from pathlib import Path
from typing import Final

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import numpy as np
from scipy import special, stats

from benchmarks.peering import provenance
from harden.regression.paired_comparison import score

RECORD = provenance.RESULTS / "gate_coverage.jsonl"
MARGINS: Final = (0.005, 0.01, 0.02, 0.05)
ALPHAS: Final = (0.05, 0.01)
MORE: Final = (
    0.0,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.03,
    0.04,
    0.06,
    0.08,
    0.12,
    0.2,
    0.3,
    0.5,
    0.8,
    1.0,
)
"""Discordance beyond the margin."""


def sizes(count: int) -> list[int]:
    """Numbers of images from 10 to 10,000, about evenly on a logarithmic scale."""
    return sorted({round(each) for each in np.geomspace(10, 10_000, count)})


def false_pass(n: int, margin: float, alpha: float, discordance: float) -> float:
    """The exact chance that the bound lies above a true difference of -margin: a sum over (b, c)."""
    gain, loss = (discordance - margin) / 2, (discordance + margin) / 2
    spread = 8 * math.sqrt(n * gain) + 8
    b = np.arange(max(0, int(n * gain - spread)), min(n, int(n * gain + spread)) + 1)
    quantile = -special.ndtri(alpha)
    most, high = np.full(len(b), -1), n - b + 1
    while np.any(high - most > 1):
        middle = (most + high) // 2
        above = (middle >= 0) & (
            score(n, b.astype(np.float64), middle.astype(np.float64), -margin) > quantile
        )
        most, high = np.where(above, middle, most), np.where(above, high, middle)
    weights = stats.binom.pmf(b, n, gain)
    return float(np.sum(weights * stats.binom.cdf(most, n - b, min(loss / (1 - gain), 1.0))))


def main(words: list[str] | None = None) -> int:
    """Print the worst cell of each alpha; 1 where the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, default=168)
    parser.add_argument("--record", action="store_true", help="add a line to results/gate_coverage.jsonl")
    given = parser.parse_args(words)
    holds = True
    for alpha in ALPHAS:
        cells = [
            (false_pass(n, margin, alpha, min(margin + more, 1.0)), n, margin, min(margin + more, 1.0))
            for n, margin, more in product(sizes(given.sizes), MARGINS, MORE)
        ]
        for most in (0.5, 1.0):
            worst, n, margin, discordance = max(cell for cell in cells if cell[3] <= most)
            line = {
                "alpha": alpha,
                "cells": sum(cell[3] <= most for cell in cells),
                "discordance_at_most": most,
                "false_pass": worst,
                "at": {"n": n, "margin": margin, "discordance": discordance},
            }
            print(json.dumps(line), flush=True)
            if given.record:
                provenance.append(RECORD, {**line, **provenance.origin()})
            holds &= alpha != ALPHAS[0] or worst <= (alpha if most < 1 else alpha + 1e-4)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
