"""Fuzzing of all readers in harden with mutated files, with a record of the outcomes.

    python -m benchmarks.stress_fuzz --n 200000 --seed 0 --processes 2

Claim: none of the inputs makes harden crash, hang (compute for more than 5 s, or make no progress for a
minute), take 2 GB beyond an idle process, or pass as good. Inputs: npz data, certificate.json (raw, and
sealed again as a forger would), evidence.npz and model.onnx with digests made to fit, weights.safetensors,
described values (as in a checkpoint), options in TOML, VNN-LIB properties, baselines, image files
(`benchmarks/fuzzing/images.py`). The functions that the commands call read them; every 500th goes through
`harden.cli.main`.

An outcome is `refused` (HardenError with one line in three parts, or a broken finding of the verifier; in a
command, exit code 1 or 2), `same` (what was read equals the unmutated content: the mutation hit padding, or
words that no claim rests on), or `variant`: what was read is another content, which only inputs without a
digest of their own may be (pixels, weights, options), and those whose digest was made to fit. A variant is
held to its type, shape and range by code of its own (`benchmarks/fuzzing/oracle.py`); a verified one also to
the old counts, and its witnesses to the ball as fractions and to onnxruntime's answers. Anything else is a
defect: it is printed, its input kept, and the script ends with 1.

One JSON line a thousand cases goes to results/stress_fuzz.jsonl; cases that it holds are not run again.
`--case N` runs one case in this process; `--formats image,npz` draws from these alone, and records that.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.watch import Seen, Worker, judged, watched

CHUNK = 1000
RESULTS = Path(__file__).parent / "results" / "stress_fuzz.jsonl"
_PACKAGES = ("harden", "numpy", "onnx", "onnxruntime", "pillow", "pydantic", "safetensors", "torch")


def make_seeds(folder: Path) -> None:
    """Write the valid files, in a process of its own: this one stays free of torch."""
    import multiprocessing

    from benchmarks.fuzzing import seeds

    process = multiprocessing.get_context("spawn").Process(target=seeds.write, args=(folder,))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("the seeds could not be made")


def fuzz(
    numbers: list[int], seed: int, processes: int, keep: Path, formats: tuple[str, ...] = ()
) -> list[Seen]:
    """Run cases in watched processes: one result a number, by number; of some formats alone, or of all."""
    with tempfile.TemporaryDirectory(prefix="harden-seeds-") as name:
        make_seeds(Path(name))
        workers = [Worker(Path(name), seed, keep, formats) for _ in range(processes)]
        try:
            for at, worker in enumerate(workers):
                worker.give(numbers[at::processes])
            return sorted(watched(workers))
        finally:
            for worker in workers:
                worker.close()


def summary(cases: list[Seen]) -> dict[str, Any]:
    """Counts per format and outcome, the slowest case of each format, the peak, and every defect."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    for seen in cases:
        counts[seen.format or "lost"][seen.outcome] += 1
        slowest[seen.format or "lost"] = max(slowest[seen.format or "lost"], seen.milliseconds)
    return {
        "counts": {name: dict(sorted(found.items())) for name, found in sorted(counts.items())},
        "slowest_ms": {name: round(value, 1) for name, value in sorted(slowest.items())},
        "peak_mb": max(seen.peak_mb for seen in cases),
        "defects": [f"case {seen.number}: {seen.defect}" for seen in cases if seen.defect],
    }


def session(n: int, seed: int, processes: int, out: Path, keep: Path, formats: tuple[str, ...] = ()) -> int:
    """Run the chunks that `out` lacks; 1 where a defect was found."""
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    lines = [line for line in lines if tuple(line.get("formats", ())) == formats]
    done = {line["first"] for line in lines if line["seed"] == seed}
    missing = [first for first in range(0, n, CHUNK) if first not in done]
    from harden.system.package_metadata import versions

    machine = {"python": platform.python_version(), "machine": platform.machine(), "processes": processes}
    machine |= versions(_PACKAGES) | ({"formats": list(formats)} if formats else {})
    if not missing:
        return told(lines, n, seed)
    with tempfile.TemporaryDirectory(prefix="harden-seeds-") as name:
        make_seeds(Path(name))
        workers = [Worker(Path(name), seed, keep, formats) for _ in range(processes)]
        try:
            for first in missing:
                start = time.perf_counter()
                numbers = range(first, min(first + CHUNK, n))
                for at, worker in enumerate(workers):
                    worker.give(list(numbers[at::processes]))
                line = {"first": first, "n": len(numbers), "seed": seed, **summary(sorted(watched(workers)))}
                line |= {"seconds": round(time.perf_counter() - start, 1), **machine}
                with out.open("a") as file:
                    file.write(json.dumps(line, sort_keys=True) + "\n")
                lines.append(line)
                print(f"{first}: {line['counts']} {line['seconds']} s, peak {line['peak_mb']} MB", flush=True)
                for defect in line["defects"]:
                    print(f"  {defect}", flush=True)
        finally:
            for worker in workers:
                worker.close()
    return told(lines, n, seed)


def told(lines: list[dict[str, Any]], n: int, seed: int) -> int:
    """Print what the record says in all; 1 where a defect was found."""
    mine = [line for line in lines if line["seed"] == seed and line["first"] < n]
    counts: Counter[str] = Counter()
    slowest: dict[str, float] = defaultdict(float)
    for line in mine:
        for name, found in line.get("counts", {}).items():
            for outcome, count in found.items():
                counts[outcome] += count
            slowest[name] = max(slowest[name], line["slowest_ms"][name])
    defects = [defect for line in mine for defect in line.get("defects", [])]
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counts.items()))
    print(f"{sum(line['n'] for line in mine):,} cases: {outcomes}; {len(defects)} defects")
    peak = max(line.get("peak_mb", 0) for line in mine)
    print(f"peak {peak:,} MB; slowest in ms: {dict(sorted(slowest.items()))}")
    return 1 if defects else 0


def one(number: int, seed: int, keep: Path, formats: tuple[str, ...] = ()) -> int:
    """Run one case here, its input left in `keep`."""
    from benchmarks.fuzzing.cases import FORMATS, Cases

    with tempfile.TemporaryDirectory(prefix="harden-seeds-") as name:
        make_seeds(Path(name))
        place = Path(tempfile.mkdtemp(prefix=f"case-{number}-", dir=keep))
        seen = judged(Cases(Path(name), place, seed, formats or FORMATS), number)
    print(f"{seen}\ninput in {place}")
    return 1 if seen.defect else 0


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--keep", type=Path, help="where inputs that were a defect go; a temporary folder")
    parser.add_argument("--case", type=int, help="run this case alone")
    parser.add_argument("--formats", default="", help="of these alone, with commas")
    options = parser.parse_args()
    formats = tuple(options.formats.split(",")) if options.formats else ()
    keep = options.keep or Path(tempfile.mkdtemp(prefix="harden-defects-"))
    keep.mkdir(parents=True, exist_ok=True)
    if options.case is not None:
        return one(options.case, options.seed, keep, formats)
    return session(options.n, options.seed, options.processes, options.out, keep, formats)


if __name__ == "__main__":
    sys.exit(main())
