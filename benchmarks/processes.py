"""Wall time of training in two processes, against one single-threaded process on the same machine.

    python benchmarks/processes.py --record
    python benchmarks/processes.py --arms trades --rounds 5

A small CNN with BatchNorm (0.13 million weights) is trained for 20 steps on images (3, 32, 32) of ten classes
in batches of 128, by each objective, with one thread a process and gloo. Rounds of one process and of several
alternate. Seconds are those of steps 2 to 20, without the start of Python and the first step. Those of the
processor are the most of any process: on a machine that others use, their ratio is that of free cores without
the processes' waiting for each other. A ratio is that of the least of each. Weights after the last step are
compared, and those of one process whose first weights differ by a rounding of float32 ("rounded"), which the
signs of the attack amplify. One JSON line an objective.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import nn

from benchmarks.peering import provenance
from harden.data import Source, from_loader
from harden.models import Classifier
from harden.models.snapshot import Snapshot, read_snapshot, write_snapshot
from harden.objectives import AWP, TRADES, AdversarialTraining, Objective, SimCLR
from harden.system.ranks import joined
from harden.threats import Linf
from harden.training import SGD, Budget, Stage, train
from harden.training.weights.weight_averaging import weights_of

RECORD = provenance.RESULTS / "processes.jsonl"
RATE = 0.002
ARMS: dict[str, Objective] = {
    "madry": AdversarialTraining(),
    "trades": TRADES(),
    "awp": AWP(TRADES(), warmup=0.0),
    "simclr": SimCLR(),
}


def network() -> Classifier:
    """Four convolutions with BatchNorm and a linear layer."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    width, side = 3, 32
    for number, out in enumerate((32, 64, 64, 96)):
        stride = 1 if number == 0 else 2
        layers += [nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        width, side = out, -(-side // stride)
    return Classifier(nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side * side, 10)))


def images(n: int, batch: int) -> Source:
    """Noise around an image of each class."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 10, (n,), generator=generator)
    classes = torch.rand(10, 3, 4, 4, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    x = 0.6 * classes[y] + 0.4 * torch.rand(n, 3, 32, 32, generator=generator)
    return from_loader((x, y), batch)


def child(arm: str, batch: int, steps: int, place: Path, *, rounded: bool = False) -> None:
    """Train as one process, of several where the environment says so; the first writes its result.

    Args:
        arm: what is trained.
        batch: images in a batch of all processes.
        steps: number of steps.
        place: where the weights go, with the loss and the seconds.
        rounded: whether the first weights are moved by a rounding.
    """
    torch.set_num_threads(1)
    model, source = network(), images(batch * steps, batch)
    if rounded:
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1 + 2.0**-23)
    stage = Stage(arm, ARMS[arm], Budget(1.0, "epochs"), optimiser=SGD(lr=RATE), average=0.0)
    training = train(stage, model, source, Linf("8/255"), seed=0)
    first, began = next(training), time.process_time()
    last = list(training)[-1]
    taken = max(joined().every(time.process_time() - began))
    if joined().is_main:
        facts = {"seconds": last.seconds - first.seconds, "processor": taken, "loss": last.loss}
        write_snapshot(Snapshot(weights_of(model), facts), place)


def launched(words: list[str], size: int) -> None:
    """Run this file as so many processes.

    Raises:
        RuntimeError: one failed.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    running = []
    for rank in range(size):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1"}
        own |= {"MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        own = own if size > 1 else {"OMP_NUM_THREADS": 1}
        environment = {**os.environ, **{name: str(value) for name, value in own.items()}}
        running.append(subprocess.Popen([sys.executable, __file__, *words], env=environment))
    codes = [each.wait() for each in running]
    if any(codes):
        raise RuntimeError(f"a process of {size} failed: {' '.join(words)}")


def measure(arm: str, given: argparse.Namespace) -> dict[str, Any]:
    """The least seconds of one process and of several, and how far their weights are apart."""
    names = ("seconds", "processor")
    taken: dict[str, dict[int, list[float]]] = {name: {1: [], given.processes: []} for name in names}
    found: dict[int, Snapshot] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "found.safetensors"
        words = ["--child", arm, str(given.batch), str(given.steps), str(place)]
        launched([*words, "--rounded"], 1)
        rounded = read_snapshot(place)
        for _ in range(given.rounds):
            for size in taken["seconds"]:
                launched(words, size)
                found[size] = read_snapshot(place)
                for name in names:
                    taken[name][size].append(round(found[size].facts[name], 3))
    one, several = found[1], found[given.processes]
    return {
        "arm": arm,
        "processes": given.processes,
        "batch": given.batch,
        "steps": given.steps,
        **{name: {str(size): times for size, times in each.items()} for name, each in taken.items()},
        "ratio": _ratio(taken["seconds"], given.processes),
        "processor_ratio": _ratio(taken["processor"], given.processes),
        "weights_apart": _apart(one, several),
        "rounded_apart": _apart(one, rounded),
        "losses_apart": abs(one.facts["loss"] - several.facts["loss"]),
        "load": provenance.load(),
    }


def _ratio(taken: dict[int, list[float]], processes: int) -> float:
    return round(min(taken[1]) / min(taken[processes]), 3)


def _apart(one: Snapshot, other: Snapshot) -> float:
    return max(float((value - other.tensors[name]).abs().max()) for name, value in one.tensors.items())


def main(words: list[str] | None = None) -> int:
    """Measure each objective, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], default=[*ARMS])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help=f"add lines to results/{RECORD.name}")
    parser.add_argument("--child", nargs=4, metavar=("ARM", "BATCH", "STEPS", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--rounded", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.child:
        arm, batch, steps, place = given.child
        child(arm, int(batch), int(steps), Path(place), rounded=given.rounded)
        return 0
    origin = provenance.origin()
    for arm in given.arms:
        line = measure(arm, given)
        print(json.dumps(line), flush=True)
        if given.record:
            provenance.append(RECORD, {**line, **origin})
    return 0


if __name__ == "__main__":
    sys.exit(main())
