"""The networks, images and threats that two evaluations are compared on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

import torch
from torch import Tensor, nn

from benchmarks.peering.networks import Subject, subject_of
from benchmarks.peering.trained import Place, data_named, fitting, robust_share, trained
from harden.data import sample
from harden.threats import Threat, from_name

UNITS = {"linf": Fraction(1, 255), "l2": Fraction(1, 20), "l1": Fraction(1, 2)}
"""By what eps is tried, from one of it to MOST of it."""
MOST, HALF, WEAK, TRAINED_FOR = 100, 0.5, 0.05, 0.1


@final
@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One comparison, and what to call it."""

    subject: Subject
    threat: Threat
    described: dict[str, Any]


def of(
    data: list[str], kinds: list[str], norms: list[str], place: Place, wong: list[str] | None
) -> Iterator[Case]:
    """Each data set with each kind of training and norm; then the network of Wong & Kolter."""
    for spec in data:
        splits = data_named(spec, as_cifar=False)
        for kind in kinds:
            subject, digest = trained(splits, kind, TRAINED_FOR, place)
            for norm in norms:
                threat = _weakening(subject, norm) if kind == "plain" else _halving(subject, norm)
                yield Case(subject, threat, _named(splits.name, kind, threat, digest))
    if wong is not None:
        yield _wong(wong[0], wong[1], place.images)


def _named(data: str, kind: str, threat: Threat, weights: str) -> dict[str, Any]:
    return {"data": data, "training": kind, "norm": threat.name, "eps": str(threat.eps), "weights": weights}


def _sized(norm: str) -> Callable[[int], Threat]:
    return lambda number: from_name(norm, UNITS[norm] * number)


def _halving(subject: Subject, norm: str) -> Threat:
    return fitting(subject, _sized(norm), HALF, MOST)[0]


def _weakening(subject: Subject, norm: str) -> Threat:
    """The smallest eps of 2, 4, 8, ... units that leaves less than 5 % to a PGD-10."""
    number, sized = 2, _sized(norm)
    while 2 * number <= MOST and robust_share(subject, sized(number)) >= WEAK:
        number *= 2
    return sized(number)


def _wong(path: str, spec: str, images: int) -> Case:
    """Wong & Kolter's certified network (1711.00851) on MNIST, at L-inf 0.1."""
    layers = [nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(32 * 7 * 7, 100), nn.ReLU(), nn.Linear(100, 10))
    stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(_weights(stored))
    splits = data_named(spec, as_cifar=False)
    chosen = sample(splits.test, min(images, len(splits.test)), 0)
    test = chosen.batch(torch.arange(len(chosen)))
    subject = subject_of(network, test.x, test.y)
    threat = from_name("linf", "0.1")
    return Case(subject, threat, _named(splits.name, "Wong & Kolter", threat, "wong_mnist.pth"))


def _weights(stored: Any) -> dict[str, Tensor]:
    if isinstance(stored, nn.Module):
        return dict(stored.state_dict())
    found = stored.get("state_dict", stored)
    return dict(found[0] if isinstance(found, list | tuple) else found)
