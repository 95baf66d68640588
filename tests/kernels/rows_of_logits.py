"""The losses of a row of logits under one name each, with their doors and as torch differentiates them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harden.kernels import loss_grad
from harden.kernels.load_library import Backend
from harden.kernels.loss_grad import (
    LossGrad,
    cross_entropy_grad_,
    dlr_grad_,
    margin_grad_,
    targeted_cross_entropy_grad_,
    targeted_dlr_grad_,
    targeted_margin_grad_,
)
from harden.losses import dlr, margin, targeted_cross_entropy, targeted_dlr, targeted_margin

Formula = Callable[[Tensor, Tensor, Tensor], Tensor]
Door = Callable[[LossGrad, Tensor, Tensor, Tensor], None]

# By name: the least number of classes, and the loss as torch differentiates it.
LOSSES: dict[str, tuple[int, Formula]] = {
    "cross-entropy": (1, lambda z, y, t: functional.cross_entropy(z, y, reduction="none")),
    "margin": (1, lambda z, y, t: margin(z, y)),
    "dlr": (3, lambda z, y, t: dlr(z, y)),
    "targeted dlr": (4, targeted_dlr),
    "targeted cross-entropy": (1, lambda z, y, t: targeted_cross_entropy(z, t)),
    "targeted margin": (1, targeted_margin),
}
DOORS: dict[str, Door] = {
    "cross-entropy": lambda out, z, y, t: cross_entropy_grad_(out, z, y),
    "margin": lambda out, z, y, t: margin_grad_(out, z, y),
    "dlr": lambda out, z, y, t: dlr_grad_(out, z, y),
    "targeted dlr": targeted_dlr_grad_,
    "targeted cross-entropy": targeted_cross_entropy_grad_,
    "targeted margin": targeted_margin_grad_,
}
FIELDS = ["loss", "margin", "wrong", "dlogits"]

both_backends = pytest.mark.parametrize("backend", ["door", "torch"])
every_loss = pytest.mark.parametrize("name", LOSSES)


@contextmanager
def running_on(backend: str) -> Iterator[None]:
    """Runs the doors on plain torch where that is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if backend == "torch":
            patch.setattr(loss_grad, "backend", lambda device: Backend("torch", "asked for"))
        yield


def run(
    name: str, logits: Tensor, y: Tensor, target: Tensor | None = None, backend: str = "door"
) -> LossGrad:
    out = LossGrad.like(logits)
    for field in FIELDS:
        getattr(out, field).fill_(1)
    with running_on(backend):
        DOORS[name](out, logits, y, y if target is None else target)
    return out


def random_rows(n: int, classes: int, seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, classes, generator=generator)
    y = torch.randint(classes, (n,), generator=generator)
    return logits, y, (y + 1 + seed % max(1, classes - 1)) % classes


def assert_close(one: Tensor, other: Tensor, logits: Tensor, *, relative: float = 1e-6) -> None:
    """Within `relative` of each row's largest number, and what float64 rounds off terms that cancel."""
    bound = relative * other.double().abs().amax(1) + 1e-15
    if logits.shape[1] > 2 and len(logits):
        ordered = logits.double().topk(3).values
        bound += 4e-15 / (ordered[:, 0] - ordered[:, 2] + 1e-12).nan_to_num(1.0)
    distance = (one.double() - other.double()).abs().amax(1)
    assert bool((distance <= bound).all()), (distance, bound)
