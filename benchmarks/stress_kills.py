"""Kills of `harden run` by SIGKILL at random moments, continued with --resume, with compared results.

    python -m benchmarks.stress_kills --n 60 --seed 0

Claim: killed at any moment of starting, pretraining, fine-tuning, evaluating or publishing, a run that is
resumed ends with exactly the files of an undisturbed run: weights, ONNX file and evidence byte for byte, and
the certificate except its times. After each kill nothing in the folder is half-written: every file
is whole or under a temporary name, and a certificate that is there verifies.

SimCLR and TRADES on 240 of scikit-learn's digits, a snapshot after every step, one thread. The moment is
random within a phase, the phases take turns; every third run is killed a second time while it is resumed. One
JSON line a kill goes to results/stress_kills.jsonl; kills that it holds are not repeated. It ends with 1
where something differs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "stress_kills.jsonl"
PHASES = ("start", "pretrain", "finetune", "evaluate", "publish")
ENDED = "ended"
_PACKAGES = ("harden", "torch", "onnxruntime")
_TIMED = {"created", "seconds"}
_SAME = ("model.onnx", "evidence.npz", "checkpoint/weights.safetensors", "checkpoint/plan.json")


def make_data(folder: Path) -> Path:
    """240 digits to train on and 60 to test on, as npz."""
    import numpy as np
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) / 16).astype(np.float32)
    path = folder / "digits.npz"
    np.savez(path, x_train=images[:240], y_train=labels[:240], x_test=images[300:360], y_test=labels[300:360])
    return path


def command(data: Path, out: Path) -> list[str]:
    """The run that is killed; it goes on with what is there."""
    words = [
        sys.executable,
        "-c",
        "import sys; from harden.cli import main; sys.exit(main())",
        "run",
        "--data",
        f"npz:{data}",
        "--out",
        str(out),
        "--resume",
    ]
    words += ["--eps", "1/10", "--pretrain", "simclr", "--finetune", "trades", "--budget", "30E"]
    return [*words, "--steps", "20", "--restarts", "2", "--batch-size", "32", "--checkpoint-every", "0"]


def start(data: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(data, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Block until a run ends, which has to succeed.

    Raises:
        RuntimeError: it did not.
    """
    _, said = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}: {said.decode(errors='replace').strip()}")


def phase_of(out: Path) -> str:
    """The phase of a run, by the content of its folder."""
    if not (out / "progress" / "plan.json").exists():
        return ENDED if (out / "certificate.json").exists() else "start"
    if any((out / name).exists() for name in ("model.onnx", "checkpoint", "certificate.json")):
        return "publish"
    if any(out.glob(".harden-export-*")):
        return "evaluate"
    try:
        last = (out / "progress" / "history.jsonl").read_text().splitlines()[-1:]
        return str(json.loads(last[0])["stage"]) if last else "pretrain"
    except (OSError, ValueError):
        return "pretrain"


def watched(data: Path, out: Path) -> dict[str, float]:
    """A run that nobody disturbs: how long each phase took."""
    process, spent, last = start(data, out), dict.fromkeys((*PHASES, ENDED), 0.0), time.perf_counter()
    while process.poll() is None:
        time.sleep(0.001)
        now = time.perf_counter()
        spent[phase_of(out)] += now - last
        last = now
    finish(process)
    return spent


def kill_in(process: subprocess.Popen[bytes], out: Path, phase: str, delay: float) -> str | None:
    """Kill a run so long after a phase began; the phase that it hit, or None where the run was faster."""
    order = (*PHASES, ENDED)
    while process.poll() is None and order.index(phase_of(out)) < order.index(phase):
        time.sleep(0.0 if phase == "publish" else 0.0005)  # publishing takes milliseconds
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return phase_of(out) if process.returncode == -signal.SIGKILL else None


def half_written(out: Path) -> list[str]:
    """Incomplete files under final names that a kill left in a folder."""
    from harden.errors import HardenError
    from harden.models.snapshot import read_snapshot
    from harden.training.checkpointing.run_checkpoints import read_plan
    from harden.verifier.verification import verify

    bad = []
    for path, read in (
        (out / "progress" / "state.safetensors", read_snapshot),
        (out / "progress" / "plan.json", read_plan),
    ):
        if path.exists():
            try:
                read(path)
            except HardenError as error:
                bad.append(f"{path.name}: {error}")
    if (out / "certificate.json").exists() and not verify(out).ok:
        bad.append("certificate.json does not verify")
    return bad


def differences(out: Path, reference: Path) -> list[str]:
    """Differences of a finished run from the reference."""
    other = [name for name in _SAME if (out / name).read_bytes() != (reference / name).read_bytes()]
    for name in ("certificate.json", "history.jsonl"):
        if timeless(out / name) != timeless(reference / name):
            other.append(name)
    found = {str(path.relative_to(out)) for path in out.rglob("*")}
    known = {str(path.relative_to(reference)) for path in reference.rglob("*")}
    return other + [f"files {sorted(found ^ known)}"] * (found != known)


def timeless(path: Path) -> Any:
    """A file's JSON lines, or its one document, without times and values that depend on them."""
    text = path.read_text()
    whole = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    return _without_time(whole)


def _without_time(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_time(part) for key, part in value.items() if key not in _TIMED | {"seal"}}
    return [_without_time(part) for part in value] if isinstance(value, list) else value


def trial(number: int, seed: int, data: Path, reference: Path, spent: dict[str, float]) -> dict[str, Any]:
    """One kill, or two, and what came of it."""
    chance = random.Random(f"{seed}-{number}")
    wanted = PHASES[number % len(PHASES)]
    with tempfile.TemporaryDirectory(prefix="harden-kill-") as name:
        out, hits, bad = Path(name) / "out", [], []
        for again in range(1 + (number % 3 == 2)):
            phase = wanted if again == 0 else chance.choice(PHASES[1:4])
            while True:
                delay = chance.random() * spent[phase]
                hit = kill_in(start(data, out), out, phase, delay)
                if hit is not None or again:
                    break
                shutil.rmtree(out)  # it had ended before the kill: that is no kill
            if hit is not None:
                hits.append(hit)
                bad += half_written(out)
        try:
            finish(start(data, out))
            bad += differences(out, reference)
        except RuntimeError as error:
            bad.append(str(error))
        return {"number": number, "seed": seed, "wanted": wanted, "hit": hits, "bad": bad}


def machine() -> dict[str, str]:
    """The machine of the run."""
    from harden.system.package_metadata import versions

    return {"python": platform.python_version(), "machine": platform.machine(), **versions(_PACKAGES)}


def main(n: int, seed: int, results: Path, numbers: Sequence[int] | None = None) -> int:
    """Do those of these kills, all by default, that are not recorded; 1 where something differed."""
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    done = {line["number"] for line in known if line["seed"] == seed}
    missing = [number for number in numbers or range(n) if number not in done]
    if missing:
        with tempfile.TemporaryDirectory(prefix="harden-kills-") as name:
            data, reference = make_data(Path(name)), Path(name) / "reference"
            spent = watched(data, reference)
            print("undisturbed:", ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in spent.items()))
            for number in missing:
                known.append({**trial(number, seed, data, reference, spent), **machine()})
                with results.open("a") as file:
                    file.write(json.dumps(known[-1], sort_keys=True) + "\n")
                print(json.dumps({key: known[-1][key] for key in ("number", "hit", "bad")}), flush=True)
    mine = [line for line in known if line["seed"] == seed and line["number"] < n]
    hits = Counter(hit for line in mine for hit in line["hit"])
    bad = [line["number"] for line in mine if line["bad"]]
    shown = ", ".join(f"{phase} {hits[phase]}" for phase in (*PHASES, ENDED))
    print(
        f"{len(mine)} runs, {sum(hits.values())} kills ({shown}): {len(mine) - len(bad)} ended as undisturbed"
    )
    return 1 if bad or not mine else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    sys.exit(main(given.n, given.seed, given.results))
