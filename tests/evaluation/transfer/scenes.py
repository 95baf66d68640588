"""What a surrogate is made from, for the tests of surrogates."""

from __future__ import annotations

import torch
from torch import Tensor

from harden.data import Batch
from harden.draws import Draws
from harden.evaluation.transfer.surrogate import SurrogateContext
from harden.models import Classifier
from harden.threats import Linf, Threat

THREAT = Linf("0.12")


def scene(model: Classifier, x: Tensor, threat: Threat = THREAT) -> SurrogateContext:
    """The model as its own judge, on images x (N, C, H, W)."""
    ids = torch.arange(len(x))
    return SurrogateContext(model, model.logits, Batch(x, torch.zeros_like(ids), ids), threat, Draws(3, ids))
