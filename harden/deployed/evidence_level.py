"""What an evaluation of an ONNX file may use, and what its number is worth: evidence level A, B or C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, final

import torch

from harden.attacks import Square
from harden.data import Source
from harden.deployed.onnx_classifier import Bare
from harden.evaluation import Attempt
from harden.graph import UnreadableError
from harden.losses import Classify, Margin
from harden.models import Classifier

Level = Literal["A", "B", "C"]
MEANING: Final[dict[Level, str]] = {
    "A": "white box: attacks climb the gradients of what decides",
    "B": "transfer and black box: attacks climb another network, and ask the file for scores",
    "C": "black box alone: attacks ask the file for scores, and know no gradient",
}
QUERIES: Final = 5000


@final
@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """What attacks go by.

    Args:
        model: what gives gradients, or the runtime, which gives none.
        judge: what decides.
        by: that in words.
        attempts: the attacks, fitted to what they may use.
        level: of the evidence.
    """

    model: Classifier
    judge: Classify
    by: str
    attempts: tuple[Attempt, ...]
    level: Level


@final
@dataclass(frozen=True, slots=True)
class Allowed:
    """What the options allow beside the file itself.

    Args:
        twin: another classifier whose gradients attacks may use; None for none.
        black_box: leave the file's graph unread.
        minutes: the limit of time of the evaluation, None for none; see `Bare.reading`.
    """

    twin: Classifier | None = None
    black_box: bool = False
    minutes: float | None = None


def of_file(
    file: Bare, allowed: Allowed, source: Source, attempts: tuple[Attempt, ...], device: torch.device
) -> Access:
    """Read a file's graph, or do without; what gives gradients is on the device.

    Raises:
        InputError: the file's graph computes something else than onnxruntime.
    """
    twin = allowed.twin
    gradient = [each for each in attempts if not each.if_gradients_fail]
    transferred = () if twin is None else tuple(_transferred(each, twin) for each in gradient)
    without = blind(attempts)
    level: Level = "C" if twin is None else "B"
    if allowed.black_box:
        why = "as was asked"
    else:
        try:
            _, model = file.reading(source, allowed.minutes)
        except UnreadableError as error:
            why = error.seen
        else:
            by = f"{file.path} in onnxruntime, white box through its own graph"
            return Access(model.to(device), file.judge, by, (*attempts, *transferred), "A")
    by = f"{file.path} in onnxruntime, without its graph ({why})"
    return Access(file.opaque().to(device), file.judge, by, (*transferred, *without), level)


def _transferred(attempt: Attempt, twin: Classifier) -> Attempt:
    return replace(attempt, name=f"{attempt.name}-transfer", source=twin, black_box=False)


def blind(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """What is left of a suite where scores alone may be queried.

    Those of its attempts that need no gradient of the file; Square where there is none.
    """
    own = [each for each in attempts if each.is_gradient_free or each.if_gradients_fail]
    if own:
        return tuple(replace(each, black_box=True) if each.source is None else each for each in own)
    return (Attempt("square", Square(queries=QUERIES), Margin, black_box=True),)
