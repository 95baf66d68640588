"""Row `weak`: evaluating a weak and a half robust network, harden's early stop against fixed steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.peering import engine
from benchmarks.peering.contenders import Setting, torchattacks
from benchmarks.peering.engine import Search
from benchmarks.peering.networks import Subject
from benchmarks.peering.speed import alpha_of, faster
from benchmarks.peering.timing import interleaved
from benchmarks.peering.trained import Place, data_named, fitting, missed, robust_share, trained
from harden.attacks import PGD
from harden.threats import Linf, Threat

WEAK, HALF = 0.05, 0.5
STANDARD, LARGEST = 8, 128
"""Of 255: the eps that the weak network is first tried at and trained for, and the largest tried."""


def weak(spec: str, place: Place, setting: Setting, rounds: int) -> dict[str, Any]:
    """Seconds for a whole evaluation: attack on all test images, the fp32 network's verdict before and after.

    harden prepares its copy within the time, stops on an image once it is broken, and gets as many steps;
    torchattacks does its fixed steps on every image. Weak: plain training, the smallest eps of 8, 16, ...,
    128 of 255 that leaves less than 5 %. Half: adversarial training, the eps that leaves nearest above 50 %.
    """
    splits, found = data_named(spec, as_cifar=True), {}
    for name, kind in (("weak", "plain"), ("half", "robust")):
        subject, digest = trained(splits, kind, STANDARD / 255, place)
        threat = _weakening(subject) if name == "weak" else fitting(subject, _of_255, HALF, LARGEST)[0]
        eps = float(threat.eps)
        this = Setting(setting.steps, setting.batch, eps, eps / 4, setting.autoattack)
        found[name] = {**_timed(subject, threat, this, rounds), "eps": str(threat.eps), "weights": digest}
    return {"data": splits.name, **found}


def _timed(subject: Subject, threat: Threat, setting: Setting, rounds: int) -> dict[str, Any]:
    columns, absent = engine.columns()
    attack = PGD(setting.steps, alpha_of(setting), stop_early=True)
    robust: dict[str, float] = {}
    runs: dict[str, Callable[[], object]] = {}

    def ours(name: str, precision: torch.dtype) -> Callable[[], None]:
        def run() -> None:
            search = engine.search(attack, subject, threat, engine.prepared(subject, precision))
            robust[name] = evaluated(search, subject, setting.batch)

        return run

    for name, precision in columns.items():
        runs[name] = ours(name, precision)
    try:
        theirs = torchattacks(subject, setting)
        runs["torchattacks"] = lambda: robust.update(torchattacks=evaluated(theirs, subject, setting.batch))
    except ImportError as error:
        absent["torchattacks"] = f"{type(error).__name__}: {error}"
    times = interleaved(runs, rounds)
    return {
        "robust": robust,
        "times_faster": faster(times, list(columns), [name for name in runs if name not in columns]),
        "seconds": times.summary(),
        "images": len(subject.x),
        "absent": absent,
    }


def evaluated(search: Search, subject: Subject, batch: int) -> float:
    """Robust accuracy, at most: each batch is attacked, the fp32 network judges it before and after."""
    wrong = 0
    for at in range(0, len(subject.x), batch):
        x, y = subject.x[at : at + batch], subject.y[at : at + batch]
        wrong += int((missed(subject.ours, x, y) | missed(subject.ours, search(x, y), y)).sum())
    return round(1 - wrong / len(subject.x), 4)


def _of_255(number: int) -> Linf:
    return Linf(f"{number}/255")


def _weakening(subject: Subject) -> Linf:
    number = STANDARD
    while number < LARGEST and robust_share(subject, _of_255(number)) >= WEAK:
        number *= 2
    return _of_255(number)
