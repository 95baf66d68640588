"""Evidence levels of an evaluation of an ONNX file: what attacks may use, and what their result is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, final

import torch

from harden.attacks import Square
from harden.data import Source
from harden.deployed.onnx_classifier import Numbers, OnnxClassifier
from harden.evaluation import Attempt
from harden.graph import UnreadableError
from harden.losses import Classify, Margin
from harden.models import Classifier

EvidenceLevel = Literal["A", "B", "C"]
MEANING: Final[dict[EvidenceLevel, str]] = {
    "A": "white box: attacks use the gradients of what decides",
    "B": "transfer and black box: attacks use gradients of another network, and query the file for scores",
    "C": "black box alone: attacks query the file for scores, and know no gradient",
}
QUERIES: Final = 5000
"""Of Square, where a suite has no attack without gradients."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class FileAccess:
    """What attacks may use of an ONNX file, and how images are brought to it.

    Args:
        twin: another classifier whose gradients attacks use too (transfer); None for none. It is attacked on
            the device where it is.
        black_box: leave the file's graph unread, and query the file for scores alone.
        mean: of the normalisation that the file expects its images to have gone through, a number for each
            channel or one; None for a file that takes pixels in [0, 1].
        std: likewise.
        device: of the gradients; onnxruntime decides on the CPU.
    """

    twin: Classifier | None = None
    black_box: bool = False
    mean: Numbers = None
    std: Numbers = None
    device: torch.device | str = "cpu"


@final
@dataclass(frozen=True, slots=True, eq=False)
class AttackSetup:
    """A classifier as it is attacked.

    Attributes:
        model: gives the gradients, or queries the runtime, which has none.
        judge: decides, images (N, C, H, W) to logits (N, K).
        decided_by: what decides and what gives gradients, in words.
        attempts: the attacks, as far as they are possible.
        level: of the evidence; see `MEANING`.
    """

    model: Classifier
    judge: Classify
    decided_by: str
    attempts: tuple[Attempt, ...]
    level: EvidenceLevel


def attack_setup(
    file: OnnxClassifier,
    access: FileAccess,
    source: Source,
    attempts: Sequence[Attempt],
    minutes: float | None = None,
) -> AttackSetup:
    """Read a file's graph, or leave it unread, and fit a suite of attacks to what they may use.

    Level A where the graph is read: the suite runs with the file's own gradients, and again with those of a
    twin. Where it is not read, or an operator has no rule: level B with a twin, else C.

    Args:
        file: the file.
        access: what attacks may use.
        source: images on which the graph's reading is compared with onnxruntime.
        attempts: the suite.
        minutes: the limit of time of the evaluation; see `OnnxClassifier.reading`.

    Raises:
        InputError: the graph's reading computes something else than onnxruntime.
    """
    twin = access.twin
    gradient = [each for each in attempts if not each.if_gradients_fail]
    transferred = () if twin is None else tuple(_transferred(each, twin) for each in gradient)
    if access.black_box:
        reason = "black box was requested"
    else:
        try:
            _, model = file.reading(source, minutes)
        except UnreadableError as error:
            reason = error.seen
        else:
            by = f"{file.path} in onnxruntime, white box through its own graph"
            model = model.to(access.device)
            return AttackSetup(model, file.judge, by, (*attempts, *transferred), "A")
    by = f"{file.path} in onnxruntime, without its graph ({reason})"
    possible = (*transferred, *gradient_free(attempts))
    level: EvidenceLevel = "C" if twin is None else "B"
    return AttackSetup(file.opaque().to(access.device), file.judge, by, possible, level)


def _transferred(attempt: Attempt, twin: Classifier) -> Attempt:
    return replace(attempt, name=f"{attempt.name}-transfer", source=twin, black_box=False)


def gradient_free(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """The attempts of a suite that need no gradient of the file; Square where there is none."""
    own = [each for each in attempts if each.is_gradient_free or each.if_gradients_fail]
    if own:
        return tuple(replace(each, black_box=True) if each.source is None else each for each in own)
    return (Attempt("square", Square(queries=QUERIES, stop_early=True), Margin, black_box=True),)
