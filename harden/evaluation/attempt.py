"""Attempts: an attack on a loss, with the name under which its result is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from harden.attacks import Attack, Targeted
from harden.description import JSON, describe
from harden.errors import InputError
from harden.evaluation.transfer.surrogate import Surrogate
from harden.losses import DLR, Classify, CrossEntropy, LossFunction, Margin
from harden.models import Classifier
from harden.models.snapshot import digest_of, tensors_of
from harden.threats import Threat

MakeLoss = Callable[[Classify, Tensor], LossFunction]


@final
@dataclass(frozen=True, slots=True)
class Attempt:
    """An attack on a loss, named, with its precision and its source of gradients.

    Args:
        name: under which it is reported.
        attack: searches ball and box.
        loss: makes the per-example loss from (classify, y): harden.losses.CrossEntropy, Margin, DLR, or your
            own.
        precision: of the fast copy of the network that gives gradients, torch.float32 or torch.bfloat16;
            results are judged by the network itself. Attacks without gradients query the judge, in float32.
        source: another classifier whose gradients are used in place of the evaluated one's (transfer), or a
            surrogate, which makes one; a result counts where the evaluated one errs.
        black_box: query the judge alone, as an adversary without the network: for gradient-free attacks.
        note: a change that was made to fit the network, and its reason.
        only_first: attack the images at the first so many positions alone; all by default.
        if_gradients_fail: attack only in batches where gradients of the network break few images, or where
            a trust check shows that they mislead (`harden.evaluation.trust.gradient_free_attempts`).

    Raises:
        InputError: source and black_box at once.
    """

    name: str
    attack: Attack
    loss: MakeLoss = CrossEntropy
    precision: torch.dtype = torch.float32
    source: Classifier | Surrogate | None = None
    black_box: bool = False
    note: str = ""
    only_first: int | None = None
    if_gradients_fail: bool = False

    def __post_init__(self) -> None:
        if self.source is not None and self.black_box:
            raise InputError(
                f"attempt {self.name!r} with a source and black_box=True",
                "one of them: a network that gives gradients, or none",
                "leave black_box out",
            )

    @property
    def is_gradient_free(self) -> bool:
        """Return whether scores or labels alone are queried, by the attack's attribute `gradient_free`."""
        return self.black_box or bool(getattr(self._inner, "gradient_free", False))

    @property
    def is_white_box(self) -> bool:
        """Return whether the network's own gradient is used."""
        return self.source is None and not self.is_gradient_free

    def knows(self, threat: Threat) -> bool:
        """Return whether the attack supports the threat's norm; an attack may list its norms in `norms`."""
        norms = getattr(self._inner, "norms", None)
        return norms is None or threat.name in norms

    @property
    def _inner(self) -> Attack:
        return self.attack.attack if isinstance(self.attack, Targeted) else self.attack

    def describe(self) -> dict[str, JSON]:
        """The attempt as JSON, for certificate and baseline."""
        described: dict[str, JSON] = {
            "attack": describe(self.attack),
            "loss": describe(self.loss),
            "precision": str(self.precision).removeprefix("torch."),
        }
        if self.source is not None:
            described |= _described(self.source)
        if self.black_box:
            described["access"] = "scores of the judge"
        if self.only_first is not None:
            described["only_first"] = self.only_first
        if self.if_gradients_fail:
            described["if_gradients_fail"] = True
        if self.note:
            described["note"] = self.note
        return described

    def for_classes(self, classes: int) -> Attempt:
        """The attempt for a number of classes: the margin replaces DLR where that is not defined.

        DLR needs 3 classes, and 4 in its targeted form. Both losses are positive exactly where the network
        errs.
        """
        targeted = isinstance(self.attack, Targeted)
        least = 4 if targeted else 3
        if self.loss is not DLR or classes >= least:
            return self
        note = f"the margin in place of DLR, which needs {least} classes{' when aimed' if targeted else ''}"
        return replace(self, loss=Margin, note=note)


def _described(source: Classifier | Surrogate) -> dict[str, JSON]:
    if isinstance(source, Classifier):
        return {"source": source.describe(), "source_weights": digest_of(tensors_of(source))}
    return {"source": describe(source)}
