"""Row `memory`: peak resident memory of one attack, each contender in a process of its own."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.peering import engine
from benchmarks.peering.contenders import Setting, limit
from benchmarks.peering.engine import Search
from benchmarks.peering.networks import random_subject, resnet18, small
from benchmarks.peering.speed import alpha_of
from harden.attacks import PGD
from harden.threats import Linf

PLAIN = "plain_loop"


def memory(net: str, setting: Setting, toy: bool) -> dict[str, Any]:
    """Peaks in MiB, and `over_plain`: peak / (peak of the plain loop + one copy of the weights).

    The plain loop is the limit's: forward and input gradient of the frozen network, again and again. Peaks
    include Python and torch; `grown` is what the attack added to what was resident before it.
    """
    columns, absent = engine.columns()
    found = {name: in_a_process(net, setting, name, toy) for name in (PLAIN, *columns)}
    plain, copy = found[PLAIN], found[PLAIN]["weights_mib"]
    over = {name: round(found[name]["peak_mib"] / (plain["peak_mib"] + copy), 4) for name in columns}
    grown = {
        name: round(found[name]["grown_mib"] / (plain["grown_mib"] + copy), 4)
        for name in columns
        if plain["grown_mib"] + copy > 0
    }
    return {"mib": found, "over_plain": over, "grown_over_plain": grown, "absent": absent}


def in_a_process(net: str, setting: Setting, contender: str, toy: bool) -> dict[str, float]:
    """The numbers of `one`, from a fresh process."""
    words = ["-m", "benchmarks.peering.memory", "--net", net, "--contender", contender]
    words += ["--batch", str(setting.batch), "--steps", str(setting.steps), *["--toy"] * toy]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    ran = subprocess.run(
        [sys.executable, *words],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        check=True,
    )
    numbers: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return numbers


def one(net: str, setting: Setting, contender: str, toy: bool) -> dict[str, float]:
    """Attack once in this process and say what was resident before and at most."""
    network = small() if net == "small" else resnet18(width=8 if toy else 64)
    subject = random_subject(network, setting.batch, 32)
    weights = sum(value.nbytes for value in network.state_dict().values())
    reset_peak()
    before = resident("VmRSS")
    if contender == PLAIN:
        run: Search = limit(subject.theirs.requires_grad_(False), setting.steps)
    else:
        attack = PGD(setting.steps, alpha_of(setting), stop_early=False)
        copied = engine.prepared(subject, engine.columns()[0][contender])
        run = engine.search(attack, subject, Linf(setting.eps), copied)
    run(subject.x, subject.y)
    peak = resident("VmHWM")
    numbers = {"before_mib": before, "peak_mib": peak, "grown_mib": peak - before}
    return {name: round(value, 1) for name, value in (numbers | {"weights_mib": weights / 2**20}).items()}


def reset_peak() -> None:
    """Give free memory back and let the kernel count the peak anew, where it can: settling had one."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def resident(field: str) -> float:
    """VmRSS (now) or VmHWM (at most) in MiB. Not ru_maxrss: a child inherits its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--net", choices=("small", "resnet18"), required=True)
    parser.add_argument("--contender", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args()
    chosen = Setting(steps=given.steps, batch=given.batch)
    print(json.dumps(one(given.net, chosen, given.contender, given.toy)))
