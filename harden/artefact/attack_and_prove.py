"""Attack and proof of an ONNX file as it is executed: the one place where both are started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from harden.data import Source
from harden.evaluation import Attempt, Evaluation, EvaluationProgress, Phase, evaluate
from harden.evaluation.proofs.proof_journal import ProofJournal
from harden.evaluation.proofs.prove import EvaluatedImages, ProofResult, RadiusSearch, prove
from harden.evaluation.proofs.runtime_agreement import Execution
from harden.losses import Classify
from harden.models import Classifier
from harden.threats import Threat

OnPhase = Callable[[Phase], None]


def no_report(phase: Phase) -> None:
    """Ignore progress."""


@final
@dataclass(frozen=True, slots=True)
class AttackPlan:
    """The attacks of an evaluation.

    Args:
        threat: the threat model.
        attempts: the suite.
        seed: of the random starts.
        minutes: the limit of time; None for none.
        journal: a folder in which finished batches are kept; None for none.
    """

    threat: Threat
    attempts: Sequence[Attempt]
    seed: int = 0
    minutes: float | None = None
    journal: Path | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class ExecutedFile:
    """A file as onnxruntime executes it, with a model of it for gradients.

    Args:
        model: gives the gradients.
        judge: decides: the file in onnxruntime, images to logits.
        executions: the graphs that sessions execute for the file, computed when a proof is tried.
        arrange: from images to the file's inputs; None where they are the same.
        device: of the bounds.
    """

    model: Classifier
    judge: Classify
    executions: Callable[[], Sequence[Execution]]
    arrange: Callable[[Tensor], Tensor] | None = None
    device: torch.device | None = None

    def attack(
        self, images: Source, plan: AttackPlan, on_batch: Callable[[EvaluationProgress], None] | None = None
    ) -> Evaluation:
        """Evaluate the worst case over the attempts for each image; see `harden.evaluation.evaluate`."""
        return evaluate(
            self.model,
            images,
            plan.threat,
            plan.attempts,
            judge=self.judge,
            seed=plan.seed,
            minutes=plan.minutes,
            journal=plan.journal,
            on_batch=on_batch,
        )

    def prove(
        self,
        images: Source,
        found: Evaluation,
        search: RadiusSearch,
        on_phase: OnPhase = no_report,
        journal: ProofJournal | None = None,
    ) -> ProofResult:
        """Prove of each image that no attack broke the largest radius that can be proved.

        Args:
            images: those of the evaluation, in its order.
            found: the evaluation of this file.
            search: of the radii.
            on_phase: called with the `Phase` after each part.
            journal: keeps each finished part.

        Raises:
            InputError: an operation of the file has no bound.
        """
        return prove(
            self.executions(),
            EvaluatedImages(images, found, self.arrange),
            search,
            journal=journal,
            on_proof=lambda at: on_phase(Phase("prove", at.done, at.total)),
            device=self.device,
        )
