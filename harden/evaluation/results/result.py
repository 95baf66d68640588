"""Result of an evaluation, per example and in total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from harden.certificate.chance_level import caution
from harden.certificate.unreliable_reasons import LONGER, next_attacks, reason, suite_of
from harden.description import JSON
from harden.statistics import Proportion
from harden.threats import Threat

_SUITES = {
    "--attacks standard": "harden.evaluation.standard()",
    "--attacks thorough": "harden.evaluation.thorough()",
    LONGER: "harden.evaluation.pgd_suite(steps=1000, restarts=10)",
}


@final
@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """Result and cost of one attempt.

    Attributes:
        name: the attempt's name.
        spec: the attempt as JSON.
        attempted: examples that were unbroken before it.
        broken: examples that it broke.
        robust: accuracy over all n examples after it and those before it.
        passes: passes it spent.
        seconds: time it took.
    """

    name: str
    spec: dict[str, JSON]
    attempted: int
    broken: int
    robust: Proportion
    passes: float
    seconds: float


@final
@dataclass(frozen=True, slots=True)
class TrustCheck:
    """A test for a sign that the robust accuracy is too high: passed means value <= threshold."""

    name: str
    value: float
    threshold: float
    meaning: str
    action: str

    @property
    def passed(self) -> bool:
        """Return whether the check did not fire."""
        return self.value <= self.threshold

    @property
    def reason(self) -> str:
        """The value seen, the threshold and the action to take, on one line."""
        return reason(self)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Witnesses:
    """Witnesses: one for every example that is classified correctly when clean and broken by an attempt.

    Attributes:
        index: position in the evaluated set, int64 (M,).
        label: int64 (M,).
        prediction: the class that the judge gave the witness, int64 (M,).
        original: clean images, float32 (M, C, H, W).
        witness: images in ball and box around them, float32 (M, C, H, W).
    """

    index: Tensor
    label: Tensor
    prediction: Tensor
    original: Tensor
    witness: Tensor

    def __len__(self) -> int:
        return len(self.index)


@final
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluation:
    """Clean accuracy, and robust accuracy as the worst case over all attempts on each example.

    Robust accuracy is an upper bound: an attack that found nothing proves nothing.

    Attributes:
        threat: the threat model.
        labels: int64 (n,).
        predictions: the judge's classes of the clean images, int64 (n,).
        broken: True where an attempt found a witness, bool (n,).
        attempts: a record for each attempt, in the order in which they ran.
        checks: the trust checks.
        witnesses: one for every broken example.
        passes: passes spent in all.
        seconds: time taken in all.
        broken_by: position in `attempts` of the one that broke the example, int64 (n,); -1 where it is not
            broken.
        broken_at: the step or query in which it did, where the attack reports it, else 0: int64 (n,).
        output: the kind of the judge's outputs: "logits", "probabilities" or "log-probabilities".
        left: examples that were not evaluated in time; no number includes them.
    """

    threat: Threat
    labels: Tensor
    predictions: Tensor
    broken: Tensor
    attempts: tuple[AttemptRecord, ...]
    checks: tuple[TrustCheck, ...]
    witnesses: Witnesses
    passes: float
    seconds: float
    broken_by: Tensor
    broken_at: Tensor
    output: str = "logits"
    left: int = 0

    @property
    def clean_correct(self) -> Tensor:
        """True where the clean image is classified right: bool (n,)."""
        return self.predictions == self.labels

    @property
    def robust_correct(self) -> Tensor:
        """True where the clean image is classified right and no attempt broke it: bool (n,)."""
        return self.clean_correct & ~self.broken

    @property
    def clean(self) -> Proportion:
        """Clean accuracy with its exact interval."""
        return Proportion(int(self.clean_correct.sum()), len(self.labels))

    @property
    def robust(self) -> Proportion:
        """Robust accuracy with its exact interval."""
        return Proportion(int(self.robust_correct.sum()), len(self.labels))

    @property
    def unanswered(self) -> int:
        """The number of clean images with a logit that is NaN or infinite: each counts as misclassified."""
        return int((self.predictions < 0).sum())

    @property
    def complete(self) -> bool:
        """Return whether every example was evaluated; otherwise the numbers are of the first n alone."""
        return self.left == 0

    @property
    def status(self) -> str:
        """The word "ok", or "unreliable" where a trust check fired."""
        return "ok" if all(check.passed for check in self.checks) else "unreliable"

    @property
    def fired(self) -> tuple[TrustCheck, ...]:
        """The trust checks that fired; `reason` of each gives the cause."""
        return tuple(check for check in self.checks if not check.passed)

    def __repr__(self) -> str:
        """The status, with the accuracies where no trust check fired, else with the reasons."""
        n, left = len(self.labels), f" ({self.left:,} left out: time was up)" if self.left else ""
        head = f"{self.threat!r}, n = {n:,}{left}: {self.status}, clean {self.clean}"
        if self.status == "ok":
            return f"<Evaluation {head}, robust at most {self.robust}>"
        lines = [f"  {check.reason}" for check in self.fired]
        options = next_attacks(self.checks, suite_of(record.name for record in self.attempts))
        if options:
            lines.append(f"  next: harden.evaluate(model, data, threat, {_SUITES[options]})")
        return "\n".join([f"<Evaluation {head}, no reliable robust accuracy:", *lines, ">"])

    def per_class(self) -> dict[int, tuple[Proportion, Proportion]]:
        """Clean and robust accuracy of every class that has examples, by label."""
        result = {}
        for label in torch.unique(self.labels).tolist():
            mine = self.labels == label
            clean = Proportion(int(self.clean_correct[mine].sum()), int(mine.sum()))
            robust = Proportion(int(self.robust_correct[mine].sum()), int(mine.sum()))
            result[int(label)] = (clean, robust)
        return result

    def caution(self, classes: Sequence[str] = ()) -> str:
        """A warning where clean accuracy is not above chance, or one class is always predicted; else "".

        Robust accuracy then says nothing about the model; see `harden.certificate.chance_level`.

        Args:
            classes: their names, by label; labels by default.
        """
        names = [classes[label] if label < len(classes) else str(label) for label in self._classes()]
        counts = torch.bincount(self.labels, minlength=len(names)).tolist()
        sizes = {name: count for name, count in zip(names, counts, strict=True) if count}
        answers = torch.unique(self.predictions).tolist()
        only = names[answers[0]] if len(answers) == 1 else None
        return caution(str(self.clean), self.clean.interval[0], sizes, only)

    def _classes(self) -> range:
        """All classes up to the largest among labels and predictions."""
        return range(int(torch.maximum(self.labels.max(), self.predictions.max())) + 1)

    @property
    def worst_class(self) -> tuple[int, Proportion, Proportion]:
        """The class with the lowest robust accuracy: (label, clean, robust); of several the lowest label.

        It is chosen on the same images: the interval has its coverage for a class named beforehand, not for
        it.
        """
        label, (clean, robust) = min(self.per_class().items(), key=lambda item: item[1][1].value)
        return label, clean, robust
