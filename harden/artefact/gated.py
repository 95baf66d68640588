"""A model as a graph that passed the parity gate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harden.artefact.graph import trace
from harden.artefact.parity import Parity, check_parity
from harden.artefact.session import Session
from harden.attacks import PGD
from harden.data import Source
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import CrossEntropy
from harden.models import Classifier, ordinary, untouched
from harden.models.passes import check_interruption
from harden.threats import Threat

PARITY_IMAGES = 15  # whole batches of 1, 3 and 5


def exported(model: Classifier, x: Tensor, y: Tensor, threat: Threat) -> tuple[bytes, Session, Parity]:
    """Trace a model and gate the graph on images x (N, C, H, W), clean and attacked."""
    model = ordinary(model)
    graph = trace(model, (x.shape[1], x.shape[2], x.shape[3]))
    content = graph.SerializeToString(deterministic=True)
    session = Session(content)
    if int(y.min()) < 0 or int(y.max()) >= session.classes:
        raise InputError(
            f"labels {int(y.min())} to {int(y.max())} for {session.classes} logits",
            f"labels 0 to {session.classes - 1}",
            "check that model and data have the same classes",
        )
    # The clean images first: a network that can't take this batch could not be attacked either.
    check_parity(model, session, x)
    with untouched(model):
        device = model.device
        loss = CrossEntropy(model.logits, y.to(device))
        draws = Draws(0, torch.arange(len(x), device=device))
        x_adv = PGD(steps=10)(loss, x.to(device), threat, draws)
    return content, session, check_parity(model, session, torch.cat((x, x_adv.cpu())))


def judge_of(session: Session) -> Callable[[Tensor], Tensor]:
    """A session as a judge: images to logits, both as tensors."""

    def judge(x: Tensor) -> Tensor:
        check_interruption()
        return torch.from_numpy(session(x.detach().cpu().numpy())).to(x.device)

    return judge


def first_images(source: Source) -> tuple[Tensor, Tensor]:
    """The images (N, C, H, W) and labels (N,) that the gate looks at."""
    images, labels, count = [], [], 0
    for batch in source.epoch(None):
        images.append(batch.x.float().cpu())
        labels.append(batch.y.cpu())
        count += len(batch)
        if count >= PARITY_IMAGES:
            break
    if not count:
        raise InputError("no examples", "at least one image to certify on", "check the data set")
    return torch.cat(images)[:PARITY_IMAGES], torch.cat(labels)[:PARITY_IMAGES]
