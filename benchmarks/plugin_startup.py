"""Cost of the pytest plugin in a session that does not use it: start to end, with it and without, in turns.

    python benchmarks/plugin_startup.py --rounds 25

Claim: installed and unused, it adds at most 50 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

CLAIM = 0.05


def seconds(folder: Path, words: Sequence[str]) -> float:
    """A session with one empty test."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, "test_nothing.py"]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return time.perf_counter() - began


def main(words: list[str] | None = None) -> int:
    """Measure and print; 1 where the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=25)
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        for once in ((), ("-p", "no:harden")):  # the first start of each compiles
            seconds(folder, once)
        pairs = [(seconds(folder, ("-p", "no:harden")), seconds(folder, ())) for _ in range(given.rounds)]
    more = [there - without for without, there in pairs]
    low, _, high = quantiles(more, n=4)
    found = {
        "rounds": given.rounds,
        "without_s": round(median(without for without, _ in pairs), 4),
        "more_s": round(median(more), 4),
        "quartiles_s": [round(low, 4), round(high, 4)],
        "holds": median(more) <= CLAIM,
    }
    print(json.dumps(found))
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
