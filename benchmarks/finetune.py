"""Robust accuracy of ways to fine-tune adversarially, at equal passes or equal seconds of one core.

    OMP_NUM_THREADS=1 python benchmarks/finetune.py --data npz:gtsrb.npz --budget 0.35M --record
    OMP_NUM_THREADS=1 python benchmarks/finetune.py --data npz:cifar10.npz --budget 60s --arms default hand

A small CNN with BatchNorm (0.13 million weights) on images of half their height and width, L-infinity
8/255 (MNIST: at full size, 0.3), at most 10,000 training images. Robust accuracy is the worst case of PGD-20
on cross-entropy and on the margin over 1,000 test images. Each arm is a recipe of `harden.harden`; `hand` is
a loop in torch alone. `--from plain` starts from the same network trained plainly, for which `limit-0.02` and
its like limit the loss of clean accuracy. One JSON line a run; with
`--record`, lines that the file already holds are not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the folder above is not on the path
    sys.path[0] = str(Path(__file__).parents[1])

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peering import provenance
from harden import harden
from harden.attacks import PGD
from harden.data import Examples, from_loader, load
from harden.evaluation import Attempt, evaluate
from harden.hardening import RateProbe, Recipe
from harden.losses import CrossEntropy, Margin
from harden.models import Classifier
from harden.objectives import (
    AWP,
    FGSM_RS,
    MART,
    NFGSM,
    TRADES,
    AdversarialTraining,
    PriorGuidedFGSM,
    Standard,
)
from harden.threats import Linf
from harden.training import SGD, AdamW, Cosine, StepRecord
from harden.training.guards.guard_options import Guards
from harden.views import LIGHT

RECORD = provenance.RESULTS / "finetune.jsonl"
TRAIN, TEST, PLAIN = 10_000, 1_000, "10epochs"
ATTEMPTS = tuple(
    Attempt(f"pgd-20-{loss.__name__}", PGD(20, step_size=0.125, stop_early=True), loss)
    for loss in (CrossEntropy, Margin)
)


def pgd(steps: int, size: float) -> PGD:
    """PGD as in training: its last point."""
    return PGD(steps, step_size=size, keep_best=False)


DEFAULT = Recipe()
FGSM = AdversarialTraining(PGD(1, step_size=1.0, random_start=False, keep_best=False))
ARMS: dict[str, Recipe] = {
    "default": DEFAULT,
    "version-0.1": Recipe(
        TRADES(attack=pgd(10, 0.25)), optimiser=AdamW(1e-3), schedule=Cosine(), ramp=0.3, validations=10
    ),
    "pgd-1": replace(DEFAULT, finetune=AdversarialTraining(pgd(1, 1.0))),
    "pgd-4": replace(DEFAULT, finetune=AdversarialTraining(pgd(4, 0.4))),
    "pgd-10": replace(DEFAULT, finetune=AdversarialTraining(pgd(10, 0.25))),
    "n-fgsm": replace(DEFAULT, finetune=NFGSM()),
    "fgsm-rs": replace(DEFAULT, finetune=AdversarialTraining(FGSM_RS)),
    "fgsm-pgi": replace(DEFAULT, finetune=PriorGuidedFGSM()),
    "trades": replace(DEFAULT, finetune=TRADES()),
    "mart": replace(DEFAULT, finetune=MART()),
    "awp": replace(DEFAULT, finetune=AWP(AdversarialTraining())),
    "adamw-1e-3": replace(DEFAULT, optimiser=AdamW(1e-3)),
    "adamw-5e-3": replace(DEFAULT, optimiser=AdamW(5e-3)),
    "no-ramp": replace(DEFAULT, ramp=0.0),
    "no-average": replace(DEFAULT, average=0.0),
    "smoothing": replace(DEFAULT, finetune=AdversarialTraining(label_smoothing=0.1)),
    "views": replace(DEFAULT, finetune=AdversarialTraining(views=LIGHT)),
    "sgd-0.05": replace(DEFAULT, optimiser=SGD(0.05)),
    "sgd-0.3": replace(DEFAULT, optimiser=SGD(0.3)),
    "rate-probe": replace(DEFAULT, rate_probe=RateProbe()),
    "fgsm": replace(DEFAULT, finetune=FGSM),
    "fgsm-unguarded": replace(DEFAULT, finetune=FGSM, guards=Guards(rollbacks=0, checks=0)),
    "limit-0.01": replace(DEFAULT, max_clean_drop=0.01),
    "limit-0.02": replace(DEFAULT, max_clean_drop=0.02),
    "limit-0.05": replace(DEFAULT, max_clean_drop=0.05),
}


@dataclass(frozen=True)
class Task:
    """Images, threat and network of a comparison."""

    name: str
    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    threat: Linf

    @classmethod
    def of(cls, spec: str, eps: str | None = None) -> Task:
        """The task of a data spec: at most 10,000 training images, of half the size but for MNIST's."""
        splits, name = load(spec), spec.rpartition("/")[2].rpartition(":")[2].removesuffix(".npz")
        digits = "mnist" in name and "pneumonia" not in name

        def drawn(images: Examples, most: int) -> tuple[Tensor, Tensor]:
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:most]
            batch = images.batch(order.sort().values)
            x = batch.x if digits else functional.avg_pool2d(batch.x, 2)
            return x.contiguous(), batch.y

        threat = Linf(eps or ("0.3" if digits else "8/255"))
        return cls(name, *drawn(splits.train, TRAIN), *drawn(splits.test, TEST), threat)

    def network(self, seed: int) -> Classifier:
        """Four convolutions with BatchNorm and a linear layer."""
        channels, side = self.x.shape[1], self.x.shape[2]
        layers: list[nn.Module] = []
        width = channels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for number, out in enumerate((32, 64, 64, 96)):
                stride = 1 if number == 0 else 2
                layers += [nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
                width, side = out, -(-side // stride)
            layers += [nn.Flatten(), nn.Linear(width * side * side, int(self.y.max()) + 1)]
        return Classifier(nn.Sequential(*layers), mean=(0.5,) * channels, std=(0.25,) * channels)


def amount(text: str, images: int) -> str:
    """A budget for `harden.harden`: "0.35M" passes as E of the images, "60s" as it is."""
    return f"{1e6 * float(text[:-1]) / images:.6g}E" if text.endswith("M") else text


def by_harden(recipe: Recipe) -> Callable[..., tuple[Classifier, dict[str, Any]]]:
    """Train as a recipe says."""

    def run(
        task: Task, model: Classifier, budget: str, batch: int, seed: int
    ) -> tuple[Classifier, dict[str, Any]]:
        last: list[StepRecord] = []
        held = min(recipe.held_out, recipe.held_out_limit / len(task.x))
        trained = round(len(task.x) * (1 - held))
        hardened = harden(
            model,
            from_loader((task.x, task.y), batch),
            threat=task.threat,
            recipe=recipe,
            budget=amount(budget, trained),
            seed=seed,
            exportable=False,
            on_step=lambda step: last.__setitem__(slice(None), [step]),
        )
        passes = sum(stage.epochs_equivalent for stage in hardened.origin.stages) * trained
        events = [point.event for point in hardened.origin.history if point.event]
        return hardened.model, {"passes": round(passes), "steps": last[0].step, "events": events}

    return run


def by_hand(
    task: Task, model: Classifier, budget: str, batch: int, seed: int
) -> tuple[Classifier, dict[str, Any]]:
    """PGD-2 with steps of 0.75 eps, SGD with a rate of 0.15, in torch alone; attacks in inference mode."""
    network, eps = model.network, float(task.threat.eps)
    mean, std = 0.5, 0.25
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.15, momentum=0.9, nesterov=True, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(seed)
    whole, began, spent, steps = float(budget[:-1]), time.perf_counter(), 0.0, 0
    while True:
        for rows in torch.split(torch.randperm(len(task.x), generator=generator), batch):
            share = spent / (1e6 * whole) if budget.endswith("M") else (time.perf_counter() - began) / whole
            if share >= 1.0:
                return model, {"passes": round(spent), "steps": steps}
            for group in optimiser.param_groups:
                group["lr"] = 0.15 * min(share / 0.3 + 0.01, (1 - share) / 0.7)
            now = eps * min(1.0, share / 0.5)
            x, y = task.x[rows].to(memory_format=torch.channels_last), task.y[rows]
            network.eval().requires_grad_(False)
            point = (x + torch.empty_like(x).uniform_(-now, now, generator=generator)).clamp(0, 1)
            for _ in range(2):
                point.requires_grad_()
                loss = functional.cross_entropy(network((point - mean) / std), y, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, point)
                point = point.detach() + 0.75 * now * gradient.sign()
                point = torch.minimum(torch.maximum(point, x - now), x + now).clamp(0, 1)
            network.train().requires_grad_(True)
            optimiser.zero_grad()
            torch.autograd.backward(functional.cross_entropy(network((point - mean) / std), y))
            optimiser.step()
            spent, steps = spent + 3 * len(rows), steps + 1


def measure(task: Task, arm: str, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One run and its evaluation."""
    model = task.network(seed)
    if given.start == "plain":
        plain = Recipe(finetune=Standard(), validations=0, held_out=0.01)
        model, _ = by_harden(plain)(task, model, PLAIN, given.batch, seed)
    began, used = time.perf_counter(), time.process_time()
    train = by_hand if arm == "hand" else by_harden(ARMS[arm])
    model, spent = train(task, model, given.budget, given.batch, seed)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    model.eval()
    found = evaluate(model, (task.x_test, task.y_test), task.threat, ATTEMPTS, seed=1, batch_size=500)
    right = found.robust_correct
    classes = [right[task.y_test == label] for label in sorted(set(task.y_test.tolist()))]
    return {
        "data": task.name,
        "eps": str(task.threat.eps),
        "arm": arm,
        "start": given.start,
        "budget": given.budget,
        "batch": given.batch,
        "seed": seed,
        "clean": found.clean.value,
        "robust": found.robust.value,
        "interval": list(found.robust.interval),
        "worst_class": min(float(bits.float().mean()) for bits in classes),
        "n": len(task.x_test),
        "images": len(task.x),
        **spent,
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "threads": torch.get_num_threads(),
    }


def main(words: list[str] | None = None) -> int:
    """Run what is missing, and print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", required=True, nargs="+", help="npz:FILE ...")
    parser.add_argument("--eps", help="8/255 without, 0.3 for MNIST")
    parser.add_argument("--budget", default="0.35M", help="0.35M (million passes) or 60s")
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, "hand"], default=[*ARMS, "hand"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--from", dest="start", choices=["scratch", "plain"], default="scratch")
    parser.add_argument("--record", action="store_true", help=f"add lines to results/{RECORD.name}")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    origin = provenance.origin()
    key = ("data", "eps", "arm", "start", "budget", "batch", "seed")
    done = [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []
    known = {tuple(line[name] for name in key) for line in done} if given.record else set()
    for task in (Task.of(spec, given.eps) for spec in given.data):
        for seed in given.seeds:
            for arm in given.arms:
                names = (task.name, str(task.threat.eps), arm, given.start, given.budget, given.batch, seed)
                if names in known:
                    continue
                line = measure(task, arm, given, seed)
                print(json.dumps(line), flush=True)
                if given.record:
                    provenance.append(RECORD, {**line, **origin})
    return 0


if __name__ == "__main__":
    sys.exit(main())
