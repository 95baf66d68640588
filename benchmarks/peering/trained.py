"""Networks trained plainly and adversarially, kept in a folder, and the eps that tells attacks apart."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.peering.networks import Subject, small, subject_of
from harden.attacks import PGD
from harden.data import Splits, from_loader, load, sample
from harden.data.examples import Examples
from harden.draws import Draws
from harden.hardening import Recipe, harden
from harden.losses import CrossEntropy, errs
from harden.models import Classifier, frozen
from harden.objectives import TRADES, AdversarialTraining, Objective, Standard
from harden.threats import Linf, Threat
from harden.training import AdamW, Budget, Cosine

BATCH = 128
ATTACK = PGD(steps=5, step_size=0.5, keep_best=False)
OBJECTIVES: dict[str, Objective] = {
    "plain": Standard(),
    "robust": AdversarialTraining(ATTACK),
    "trades": TRADES(attack=PGD(10, step_size=0.25, keep_best=False)),
}


@final
@dataclass(slots=True)
class Place:
    """Where trained weights lie, what a training may cost and see and draw, how many images are attacked."""

    given: Path | None
    budget: str
    images: int
    training_images: int = 10_000
    seed: int = 0
    _temporary: list[tempfile.TemporaryDirectory[str]] = field(default_factory=list)

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._temporary:
            self._temporary.pop().cleanup()

    @property
    def folder(self) -> Path:
        """The folder; a temporary one where none was given."""
        if self.given is None:
            if not self._temporary:
                self._temporary.append(tempfile.TemporaryDirectory(prefix="harden-peers-"))
            return Path(self._temporary[0].name)
        self.given.mkdir(parents=True, exist_ok=True)
        return self.given


def data_named(spec: str, as_cifar: bool) -> Splits:
    """Load data; on request as 3 x 32 x 32, so that every row has the batch of the first."""
    splits = load(spec)
    parts = [_cifar_sized(part) if as_cifar else part for part in (splits.train, splits.test)]
    return Splits(parts[0], parts[1], splits.name)


def trained(splits: Splits, kind: str, eps: float, place: Place) -> tuple[Subject, str]:
    """The small CNN trained in one of the ways, on test images that it need not answer right; its digest."""
    channels, size, _ = splits.train.image_shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(place.seed)
        network: nn.Module = small(channels, size, len(splits.train.classes))
    seeded = f"-{place.seed}" if place.seed else ""
    name = re.sub(r"\W+", "-", f"{splits.name}-{size}-{kind}-{eps:.4f}-{place.budget}{seeded}")
    path = place.folder / f"{name}.safetensors"
    chosen = sample(splits.test, min(place.images, len(splits.test)), 0)
    test = chosen.batch(torch.arange(len(chosen)))
    subject = subject_of(network, test.x, test.y)
    if not path.exists():
        done = harden(
            subject.ours,
            from_loader(sample(splits.train, min(place.training_images, len(splits.train)), 0), BATCH),
            threat=Linf(eps),
            recipe=Recipe(
                finetune=OBJECTIVES[kind],
                optimiser=AdamW(),
                schedule=Cosine(),
                ramp=0.3,
                bfloat16=False,
                validations=0,
            ),
            budget=Budget.parse(place.budget),
            seed=place.seed,
        )
        save_file({key: value.contiguous() for key, value in done.model.network.state_dict().items()}, path)
    network.load_state_dict(load_file(path))
    return subject, hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def robust_share(subject: Subject, threat: Threat, steps: int = 10) -> float:
    """Robust accuracy, at most, by PGD on the cross-entropy."""
    wrong = 0
    with frozen(subject.ours):
        for at in range(0, len(subject.x), BATCH):
            x, y = subject.x[at : at + BATCH], subject.y[at : at + BATCH]
            draws = Draws(1, torch.arange(at, at + len(x)))
            x_adv = PGD(steps=steps, stop_early=True)(CrossEntropy(subject.ours.logits, y), x, threat, draws)
            wrong += int(missed(subject.ours, x_adv, y).sum())
    return 1 - wrong / len(subject.x)


@torch.no_grad()
def missed(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Where the fp32 network errs: bool (N,)."""
    return errs(model.logits(x), y)


def fitting(
    subject: Subject, threats: Callable[[int], Threat], share: float, most: int
) -> tuple[Threat, float]:
    """The largest of threats(1) to threats(most) that leaves at least this share, and what it leaves."""
    low, high, left = 1, most, robust_share(subject, threats(1))
    while low < high:
        middle = (low + high + 1) // 2
        found = robust_share(subject, threats(middle))
        if found >= share:
            low, left = middle, found
        else:
            high = middle - 1
    return threats(low), left


def _cifar_sized(examples: Examples) -> Examples:
    if examples.image_shape == (3, 32, 32):
        return examples
    x = examples.batch(torch.arange(len(examples))).x
    x = nn.functional.interpolate(x, (32, 32), mode="bilinear", align_corners=False).clamp(0, 1)
    x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
    return Examples(x.contiguous(), examples.y, examples.classes, examples.name)
