"""CIFAR-10, ResNet-18 from scratch on a CUDA device within minutes, and what `standard` finds of it.

    python benchmarks/gpu_cifar10.py --data npz:cifar10.npz --budget 9min
    python benchmarks/gpu_cifar10.py --dry-run --out toy.jsonl

Claim: none; it measures. All 50,000 training images, L-infinity 8/255, bfloat16 passes, random moves and
flips, the suite `standard` on 1,000 test images. One JSON line an arm and seed goes to
results/gpu_cifar10.jsonl. Those that it holds are not repeated, and training that was interrupted resumes
from --work. A dry run executes every path on the CPU at toy size.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import Tensor

from benchmarks.peering import networks, provenance
from benchmarks.peering.device import Device
from harden import harden
from harden.attacks import PGD
from harden.data import from_loader, load
from harden.evaluation import evaluate, pgd_suite, standard
from harden.hardening import Hardened, Recipe
from harden.models import Classifier
from harden.objectives import AWP, TRADES, AdversarialTraining, PriorGuidedFGSM
from harden.threats import Linf
from harden.training import SGD, Checkpoints
from harden.views import LIGHT

THREAT = Linf("8/255")
BATCH, TEST = 512, 1_000


def pgd(steps: int) -> PGD:
    """PGD as in training, with steps of 1.5 eps in all."""
    return PGD(steps, step_size=1.5 / steps, keep_best=False)


BASE = Recipe(
    AdversarialTraining(pgd(2), views=LIGHT, label_smoothing=0.1),
    optimiser=SGD(0.4),
    average=0.999,
    bfloat16=True,
    validations=4,
    held_out=0.02,
    held_out_limit=1_000,
)
ARMS = {
    "pgd-2": BASE,
    "pgd-5": replace(BASE, finetune=AdversarialTraining(pgd(5), views=LIGHT, label_smoothing=0.1)),
    "pgd-10": replace(BASE, finetune=AdversarialTraining(pgd(10), views=LIGHT, label_smoothing=0.1)),
    "fgsm-pgi": replace(BASE, finetune=PriorGuidedFGSM(label_smoothing=0.1)),
    "trades": replace(BASE, finetune=TRADES(attack=pgd(5), views=LIGHT)),
    "trades-awp": replace(BASE, finetune=AWP(TRADES(attack=pgd(5), views=LIGHT))),
}
Images = tuple[Tensor, Tensor]


def images_of(given: argparse.Namespace) -> tuple[Images, Images]:
    """Training and test images; a few random ones in a dry run."""
    if given.dry_run:
        draw = torch.Generator().manual_seed(0)
        sets = [(torch.rand(n, 3, 16, 16, generator=draw), torch.arange(n) % 10) for n in (64, 20)]
        return sets[0], sets[1]
    splits = load(given.data)
    train, test = (each.batch(torch.arange(len(each))) for each in (splits.train, splits.test))
    return (train.x, train.y), (test.x[:TEST], test.y[:TEST])


def trained(arm: str, seed: int, train: Images, given: argparse.Namespace, work: Path) -> Hardened:
    """Train an arm; one that an earlier call began in the folder goes on there."""
    device = Device(given.dry_run)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = networks.resnet18(width=4 if given.dry_run else 64)
    model = Classifier(network, mean=networks.MEAN, std=networks.STD)
    return harden(
        model,
        from_loader(train, 16 if given.dry_run else BATCH),
        threat=THREAT,
        recipe=replace(ARMS[arm], validations=1) if given.dry_run else ARMS[arm],
        budget="40E" if given.dry_run else given.budget,
        seed=seed,
        device=device.kind,
        exportable=False,
        checkpoints=Checkpoints(work / f"{arm}-{seed}", resume=True, every=20),
    )


def measure(arm: str, seed: int, given: argparse.Namespace, sets: tuple[Images, Images]) -> dict[str, Any]:
    """One run and its evaluation."""
    train, (x, y) = sets
    hardened = trained(arm, seed, train, given, given.work)
    attempts = pgd_suite(steps=2, restarts=1) if given.dry_run else standard()
    began = time.perf_counter()
    found = evaluate(hardened.model, (x, y), THREAT, attempts, seed=1, batch_size=500)
    (stage,) = hardened.origin.stages
    return {
        "clean": found.clean.value,
        "robust": found.robust.value,
        "interval": list(found.robust.interval),
        "status": found.status,
        "n": len(x),
        "images": len(train[0]),
        "E": round(stage.epochs_equivalent, 2),
        "training_seconds": round(stage.seconds, 1),
        "evaluation_seconds": round(time.perf_counter() - began, 1),
        "events": [point.event for point in hardened.origin.history if point.event],
    }


def rows(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The key of each line."""
    for seed in given.seeds:
        for arm in given.arms:
            yield {"arm": arm, "seed": seed, "budget": given.budget, "device": Device(given.dry_run).name}


def main(words: list[str] | None = None) -> int:
    """Measure what the record lacks; 2 where there is no device to measure on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", help="npz:FILE of CIFAR-10")
    parser.add_argument("--budget", default="9min", help="of training, for each arm")
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], default=[*ARMS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, help="results/gpu_cifar10.jsonl; nowhere that stays in a dry run")
    parser.add_argument("--work", type=Path, help="folder for the progress of training")
    parser.add_argument("--dry-run", action="store_true", help="every path on the CPU, at toy size")
    given = parser.parse_args(words)
    if not given.dry_run and (not torch.cuda.is_available() or given.data is None):
        print("a CUDA device and --data are needed; --dry-run walks the paths without", file=sys.stderr)
        return 2
    sets = images_of(given)
    with tempfile.TemporaryDirectory(prefix="harden-gpu-") as name:
        folder = Path(name) if given.dry_run else provenance.RESULTS
        out, given.work = given.out or folder / "gpu_cifar10.jsonl", given.work or Path(name)
        for key in rows(given):
            known = provenance.recorded(out)
            if any(all(line.get(part) == value for part, value in key.items()) for line in known):
                print(f"recorded already: {json.dumps(key)}")
                continue
            line = {**key, **measure(key["arm"], key["seed"], given, sets)}
            print(json.dumps(line), flush=True)
            provenance.append(out, {**line, **provenance.origin()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
