"""Surrogates: networks to transfer from, made for the images that are attacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

from harden.data import Batch
from harden.draws import Draws
from harden.losses import Classify
from harden.models import Classifier
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True, eq=False)
class SurrogateContext:
    """Inputs from which a surrogate is made.

    Attributes:
        model: the network.
        judge: decides, images (N, C, H, W) to logits (N, K).
        batch: the images that are attacked.
        threat: the threat model.
        draws: of the images.
    """

    model: Classifier
    judge: Classify
    batch: Batch
    threat: Threat
    draws: Draws


class Surrogate(Protocol):
    """Makes a network to transfer from."""

    def network(self, scene: SurrogateContext) -> Classifier | None:
        """The network, or None where there is none of this kind."""
        ...
