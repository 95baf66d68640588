"""MoCo, and its adversarial form: keys come from a momentum encoder and a queue of earlier batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import Attack
from harden.data import Batch
from harden.errors import InputError
from harden.losses import InfoNCE
from harden.models import Classifier, copied, frozen
from harden.objectives.objective import Step
from harden.objectives.projection_head import Projection, check_contrast, feature_width
from harden.objectives.supervised import augmented
from harden.system.shards import batch_positions, batch_rows
from harden.views import NATURAL, View


@final
class MomentumState(nn.Module):
    """Query encoder, momentum encoder and the queue of past keys (Q, D), of length one each."""

    queue: Tensor
    filled: Tensor
    position: Tensor

    def __init__(self, classifier: Classifier, projection: Projection, objective: MoCo) -> None:
        super().__init__()
        self.classifier = classifier
        self.projection = projection
        self.momentum_classifier = copied(classifier).requires_grad_(False)
        self.momentum_projection = copied(projection).requires_grad_(False)
        self.momentum = objective.momentum
        queue = torch.zeros(objective.queue, objective.width, device=classifier.device)
        self.register_buffer("queue", queue)
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64, device=queue.device))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64, device=queue.device))

    def embed(self, x: Tensor) -> Tensor:
        """Queries (N, D) of images (N, C, H, W)."""
        embeddings: Tensor = self.projection(self.classifier.features(x))
        return embeddings

    @torch.no_grad()
    def keys(self, x: Tensor) -> Tensor:
        """Keys (N, D) of length one, from the momentum encoder."""
        return functional.normalize(self.momentum_projection(self.momentum_classifier.features(x)))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Put a batch of keys in the queue, over the oldest ones."""
        size = len(self.queue)
        keys = keys[-size:]
        slots = (int(self.position) + torch.arange(len(keys), device=keys.device)) % size
        self.queue[slots] = keys.detach()
        self.position.fill_((int(self.position) + len(keys)) % size)
        self.filled.fill_(min(int(self.filled) + len(keys), size))

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        """M <- momentum m + (1 - momentum) q for every weight of the momentum encoder."""
        pairs = (
            (self.momentum_classifier, self.classifier),
            (self.momentum_projection, self.projection),
        )
        for slow, fast in pairs:
            for target, weight in zip(slow.parameters(), fast.parameters(), strict=True):
                target.lerp_(weight, 1.0 - self.momentum)


@final
@dataclass(frozen=True, slots=True)
class MoCo:
    """mean_i InfoNCE(q_i; k_i, queue): a query against its key and the keys of earlier batches (1911.05722).

    Args:
        temperature: divides cosine similarities.
        momentum: share of itself that the momentum encoder keeps at each step.
        queue: number of past keys, capped at half the number of training images.
        views: the augmentation, drawn twice per image.
        attack: attacks the query's view so as to be far from its key; none by default.
        hidden: width of the projection head's hidden layer.
        width: of the embeddings.
    """

    temperature: float = 0.2
    momentum: float = 0.99
    queue: int = 4096
    views: View = NATURAL
    attack: Attack | None = None
    hidden: int = 256
    width: int = 128

    def __post_init__(self) -> None:
        check_contrast(self.temperature, self.hidden, self.width)
        if self.queue < 1 or not 0 <= self.momentum < 1:
            seen = f"a queue of {self.queue} and a momentum of {self.momentum}"
            raise InputError(seen, "at least one key, a share in [0, 1)", "write MoCo(momentum=0.99)")

    def start(self, model: Classifier, n: int) -> nn.Module:
        """Query and momentum encoder, equal at first, and an empty queue."""
        projection = Projection(feature_width(model), self.hidden, self.width)
        # A queue longer than half the set would hold each image's own past keys as negatives.
        return MomentumState(
            model, projection.to(model.device), replace(self, queue=min(self.queue, max(1, n // 2)))
        )

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The mean contrastive loss of the batch, in nats; its keys then enter the queue."""
        if not isinstance(state, MomentumState):
            raise TypeError(f"MoCo runs on what its start() returned, not on a {type(state).__name__}")
        query = augmented(self.views, batch, step)
        own = state.keys(augmented(self.views, batch, step))
        # The other images of the batch serve as candidates too: a short queue is no use at the start.
        keys, positive = batch_rows(own), batch_positions(own)
        candidates = torch.cat((keys, state.queue[: int(state.filled)].clone()))
        if self.attack is not None:
            with frozen(state.classifier, state.projection):
                loss = InfoNCE(state.embed, candidates, positive, self.temperature)
                query = self.attack(loss, query, step.threat, step.draws(batch.index))
        value = InfoNCE(state.embed, candidates, positive, self.temperature)(query).mean()
        state.push(keys)
        return value
