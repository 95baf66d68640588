"""Runs that one process and two make alike, and a program that makes them as one of several processes."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harden.attacks import PGD
from harden.data import Batch, Source, from_loader
from harden.evaluation import Attempt
from harden.losses import Margin
from harden.models import Classifier
from harden.objectives import (
    AWP,
    LIET,
    MART,
    NFGSM,
    TRADES,
    AdversarialTraining,
    FreeAdversarialTraining,
    GaussianAugmentation,
    MoCo,
    MultiNorm,
    Objective,
    PriorGuidedFGSM,
    SimCLR,
    Standard,
)
from harden.objectives.certified_training import IBP
from harden.objectives.objective import Step
from harden.system.ranks import joined
from harden.threats import L2, Linf
from harden.training import SGD, Budget, Stage, StepRecord, Validation, train
from harden.training.stage import CleanLimit
from harden.training.weights.weight_averaging import weights_of
from harden.views import Views

THREAT = Linf("1/10")
VIEWS = Views(crop=(0.6, 1.0), shift=1, noise=0.05)
ATTACK = PGD(steps=2, step_size=0.75, keep_best=False)
QUICK = (Attempt("margin", PGD(steps=3, stop_early=True), Margin),)


def network(norm: bool = True, dropout: float = 0.0) -> Classifier:
    """A small network on images (1, 8, 8) with three classes."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers: list[nn.Module] = [nn.Conv2d(1, 6, 3, padding=1, bias=not norm)]
        layers += [nn.BatchNorm2d(6)] if norm else []
        layers += [nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=not norm)]
        layers += [nn.BatchNorm2d(8)] if norm else []
        layers += [nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(128, 3)]
        return Classifier(nn.Sequential(*layers))


def images(n: int, batch: int, seed: int = 0) -> Source:
    """n images in three classes, told apart by where they are bright."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = 0.4 * torch.rand(n, 1, 8, 8, generator=generator)
    for label in range(3):
        x[y == label, :, 2 * label : 2 * label + 3] += 0.4
    return from_loader((x.clamp(0, 1), y), batch)


@dataclass(frozen=True)
class Case:
    """A stage, and what it trains on."""

    objective: Objective
    norm: bool = True
    n: int = 64
    batch: int = 16
    validated: bool = False
    budget: str = "5epochs"
    limit: float | None = None
    bfloat16: bool = False
    close: float = 1e-5


@dataclass
class NotANumber:
    """Plain training whose loss is NaN once, in the last process alone."""

    fired: bool = False

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier."""
        self.fired = False
        return Standard().start(model, n)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The loss, or NaN."""
        loss = Standard()(state, batch, step)
        ranks = joined()
        if step.number == 9 and not self.fired and ranks.rank == ranks.size - 1:
            self.fired = True
            return loss * torch.nan
        return loss


CASES: dict[str, Case] = {
    "madry, limited": Case(AdversarialTraining(ATTACK), validated=True, budget="22E", limit=0.02),
    "madry, no norm": Case(AdversarialTraining(ATTACK), norm=False),
    "madry": Case(AdversarialTraining(ATTACK, views=VIEWS)),
    "madry, uneven": Case(AdversarialTraining(ATTACK), n=61),
    "madry, last batch of three": Case(AdversarialTraining(ATTACK), n=67),
    "madry, weighted": Case(AdversarialTraining(ATTACK, class_weights=(1.0, 3.0, 0.5)), n=61),
    "madry, validated": Case(AdversarialTraining(ATTACK), validated=True, budget="20E"),
    "trades": Case(TRADES(attack=ATTACK)),
    "mart": Case(MART(attack=ATTACK), n=61),
    "awp": Case(AWP(TRADES(attack=ATTACK), warmup=0.0)),
    "awp, uneven": Case(AWP(AdversarialTraining(ATTACK), gamma=0.01, warmup=0.0), n=61),
    "nfgsm": Case(NFGSM()),
    "pgi": Case(PriorGuidedFGSM(redraw=2), n=61),
    "simclr": Case(SimCLR(views=VIEWS, hidden=16, width=8)),
    "simclr, uneven": Case(SimCLR(views=VIEWS, hidden=16, width=8), n=61),
    "simclr, attacked": Case(SimCLR(views=VIEWS, hidden=16, width=8, attack=ATTACK)),
    "moco": Case(MoCo(views=VIEWS, hidden=16, width=8, queue=32, attack=ATTACK), n=61),
    "free": Case(FreeAdversarialTraining(replays=2, views=VIEWS), n=61),
    "liet": Case(LIET(refresh=3)),
    "cutmix": Case(AdversarialTraining(ATTACK, cutmix=0.7, class_weights=(1.0, 3.0, 0.5)), n=61),
    "cutmix, views": Case(AdversarialTraining(ATTACK, cutmix=0.7, views=VIEWS), n=61),
    "several threats": Case(MultiNorm(AdversarialTraining(ATTACK), (L2("1/2"),), "average")),
    "gaussian": Case(GaussianAugmentation(views=VIEWS), n=61),
    "standard": Case(Standard(label_smoothing=0.1)),
    # bfloat16 has 8 bits: one process and two agree to its rounding, which training carries on.
    "madry, bfloat16": Case(AdversarialTraining(ATTACK), bfloat16=True, close=0.05),
    "nan once": Case(NotANumber()),
    "ibp": Case(IBP(clean=0.3), n=61),
}


def run(case: Case, steps: int = 1000) -> dict[str, Any]:
    """Make a run, or its first steps; give its losses and passes, and its weights."""
    model, source = network(case.norm), images(case.n, case.batch)
    stage = Stage(
        "one",
        case.objective,
        Budget.parse(case.budget),
        optimiser=SGD(lr=0.02),
        bfloat16=case.bfloat16,
        average=0.0 if not case.validated else 0.9,
        validations=4,
    )
    limit = None if case.limit is None else CleanLimit(case.limit, weights_of(network()))
    validation = Validation(images(23, 16), THREAT, QUICK, limit=limit) if case.validated else None
    training = train(stage, model, source, THREAT, validation=validation, seed=3)
    records: list[StepRecord] = list(islice(training, steps))
    training.close()
    return {"records": [replace(each, seconds=0.0) for each in records], "weights": weights_of(model)}


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of two sets of weights."""
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


TIMED = Case(AdversarialTraining(ATTACK), validated=True, budget="0.5s")
"""A run that ends by the clock: two processes end alike, where one would end elsewhere."""


def main(folder: str) -> None:
    """Make all runs as one of several processes, and leave what came out in the folder."""
    torch.set_num_threads(1)
    logging.getLogger("harden").disabled = True
    ranks = joined()
    found = {name: run(case) for name, case in CASES.items()}
    found["timed"] = run(TIMED)
    torch.save(found, Path(folder) / f"{ranks.rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
