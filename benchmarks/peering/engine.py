"""How harden is called: the only file of these benchmarks that knows the engine's interface."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.peering.networks import Subject
from harden.attacks import Attack
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import Classify, CrossEntropy, FastCopyLoss
from harden.models import PreparedNetwork, bfloat16_is_native, prepare
from harden.threats import Threat, from_name

Search = Callable[[Tensor, Tensor], Tensor]
"""An attack ready to run: images and labels to x_adv."""
_EXAMPLES = 8


def columns(device: torch.device | str = "cpu") -> tuple[dict[str, torch.dtype], dict[str, str]]:
    """What steers in each column (the float32 network judges in all), and why a column is left out."""
    if bfloat16_is_native(device):
        return {"harden": torch.bfloat16, "harden_fp32": torch.float32}, {}
    return {"harden_fp32": torch.float32}, {"harden": "this device does not multiply bfloat16 in hardware"}


def prepared(subject: Subject, precision: torch.dtype) -> PreparedNetwork:
    """The engine's private copy of the network."""
    return prepare(subject.ours, subject.x[:_EXAMPLES], precision)


def threat_of(norm: str, eps: float | str) -> Threat | None:
    """The threat, or None where this checkout does not know the norm."""
    try:
        return from_name(norm, eps)
    except InputError:
        return None


def search(attack: Attack, subject: Subject, threat: Threat, copy: PreparedNetwork, seed: int = 0) -> Search:
    """The attack on the cross-entropy, steered by the copy, every error confirmed by the network itself."""
    return _steered(attack, subject, threat, copy, copy, seed)


def eager(attack: Attack, subject: Subject, threat: Threat, copy: PreparedNetwork, seed: int = 0) -> Search:
    """As `search`, kernel by kernel: only a loss on a `PreparedNetwork` is captured as a CUDA graph."""
    return _steered(attack, subject, threat, copy, copy.__call__, seed)


def _steered(
    attack: Attack, subject: Subject, threat: Threat, copy: PreparedNetwork, classify: Classify, seed: int
) -> Search:
    def run(x: Tensor, y: Tensor) -> Tensor:
        loss = FastCopyLoss(CrossEntropy(classify, y), CrossEntropy(subject.ours.logits, y))
        return attack(loss, copy.lay_out(x), threat, Draws(seed, torch.arange(len(x), device=x.device)))

    return run
