"""Row `strength`: robust accuracy by the engine minus that by a plain fp32 loop, all else the same."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from benchmarks.peering import engine
from benchmarks.peering.contenders import gradient_of
from benchmarks.peering.networks import Subject
from benchmarks.peering.trained import BATCH, Place, data_named, fitting, missed, trained
from harden.attacks import PGD
from harden.draws import Draws
from harden.models import frozen
from harden.threats import Threat

NORMS = {"linf": Fraction(1, 255), "l2": Fraction(1, 20), "l1": Fraction(1, 2)}
"""By what eps is tried, from one of it to MOST of it."""
MOST, LEFT, ALPHA = 128, 0.4, 0.25
TRAINED_FOR = 0.1


def strength(specs: list[str], place: Place, steps: int, seeds: int = 1) -> dict[str, Any]:
    """For each data set, training and norm: robust accuracy of both attacks at an eps that tells them apart.

    That eps is the largest that leaves 40 % to a PGD-10. `difference` is in points, engine minus plain:
    positive means that the engine is weaker; it is the mean over the seeds, which `differences` has singly.
    The plain loop counts an image as broken where any point that it visited is misclassified, which is the
    harder standard; `plain_last` looks at its last point alone.
    """
    found, absent = [], {}
    columns, without = engine.columns()
    for spec in specs:
        splits = data_named(spec, as_cifar=False)
        for kind in ("plain", "robust"):
            subject, digest = trained(splits, kind, TRAINED_FOR, place)
            for norm, unit in NORMS.items():
                threats = _family(norm, unit)
                if threats is None:
                    absent[norm] = f"this checkout has no {norm}"
                    continue
                threat, _ = fitting(subject, threats, LEFT, MOST)
                line = _over_seeds(subject, threat, steps, columns, seeds)
                where = {"data": splits.name, "training": kind, "norm": norm, "weights": digest}
                found.append({**where, "eps": str(threat.eps), **line})
    return {"cases": found, "absent": absent | without}


def plain_pgd(
    subject: Subject, threat: Threat, steps: int, x: Tensor, y: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """PGD with nothing clever about it: whether any visited point, and whether the last, is misclassified."""
    x_adv = threat.start(x, Draws(seed, torch.arange(len(x))).fold(0))  # as the first restart of PGD
    step_size = torch.full((1,), ALPHA * float(threat.eps))
    any_point = torch.zeros_like(y, dtype=torch.bool)
    for _ in range(steps):
        gradient = gradient_of(subject.ours.logits, x_adv, y)
        any_point |= missed(subject.ours, x_adv, y)
        threat.step_(x_adv, x, gradient, step_size)
    last = missed(subject.ours, x_adv, y)
    return any_point | last, last


def _over_seeds(
    subject: Subject, threat: Threat, steps: int, columns: dict[str, torch.dtype], seeds: int
) -> dict[str, Any]:
    runs = [_compared(subject, threat, steps, columns, seed) for seed in range(seeds)]
    names = list(runs[0]["difference"])
    singly = {name: [run["difference"][name] for run in runs] for name in names}
    return {
        **runs[0],
        "robust": {name: round(fmean(run["robust"][name] for run in runs), 4) for name in runs[0]["robust"]},
        "difference": {name: round(fmean(points), 2) for name, points in singly.items()},
        "differences": singly,
        "seeds": seeds,
    }


def _compared(
    subject: Subject, threat: Threat, steps: int, columns: dict[str, torch.dtype], seed: int
) -> dict[str, Any]:
    attack, searches = PGD(steps, ALPHA, stop_early=True), {}
    for name, precision in columns.items():
        searches[name] = engine.search(attack, subject, threat, engine.prepared(subject, precision), seed)
    broken = dict.fromkeys(("plain", "plain_last", *searches), 0)
    with frozen(subject.ours):
        for at in range(0, len(subject.x), BATCH):
            x, y = subject.x[at : at + BATCH], subject.y[at : at + BATCH]
            clean = missed(subject.ours, x, y)
            any_point, last = plain_pgd(subject, threat, steps, x, y, seed)
            broken["plain"] += int((clean | any_point).sum())
            broken["plain_last"] += int((clean | last).sum())
            for name, search in searches.items():
                broken[name] += int((clean | missed(subject.ours, search(x, y), y)).sum())
    n = len(subject.x)
    robust = {name: round(1 - count / n, 4) for name, count in broken.items()}
    points = {name: round(100 * (robust[name] - robust["plain"]), 2) for name in searches}
    return {"robust": robust, "difference": points, "steps": steps, "images": n}


def _family(norm: str, unit: Fraction) -> Callable[[int], Threat] | None:
    if engine.threat_of(norm, str(unit)) is None:
        return None

    def sized(number: int) -> Threat:
        threat = engine.threat_of(norm, str(unit * number))
        if threat is None:
            raise ValueError(norm)
        return threat

    return sized
