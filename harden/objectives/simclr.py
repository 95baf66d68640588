"""SimCLR, and its adversarial form: two views of an image attract, all other images repel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.attacks import Attack
from harden.data import Batch
from harden.losses import InfoNCE
from harden.models import Classifier, frozen
from harden.objectives.objective import Step
from harden.objectives.projection_head import Projection, check_contrast, feature_width
from harden.objectives.supervised import augmented
from harden.system.shards import batch_positions, batch_rows, current_shard
from harden.views import NATURAL, View


@final
class ProjectedState(nn.Module):
    """The classifier, whose encoder learns, and the projection head."""

    def __init__(self, classifier: Classifier, projection: Projection) -> None:
        super().__init__()
        self.classifier = classifier
        self.projection = projection

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (N, D) of images (N, C, H, W)."""
        embeddings: Tensor = self.projection(self.classifier.features(x))
        return embeddings


@final
@dataclass(frozen=True, slots=True)
class SimCLR:
    """NT-Xent between two views: the mean over all 2N views of InfoNCE against the other 2N - 1 (2002.05709).

    With an attack, the first view is attacked so as to be far from the second before the loss is taken, the
    step that RoCL and ACL share (2006.07589, 2010.13337).

    Args:
        temperature: divides cosine similarities.
        views: the augmentation, drawn twice per image.
        attack: attacks the first view; none by default.
        hidden: width of the projection head's hidden layer.
        width: of the embeddings.
    """

    temperature: float = 0.5
    views: View = NATURAL
    attack: Attack | None = None
    hidden: int = 256
    width: int = 128

    def __post_init__(self) -> None:
        check_contrast(self.temperature, self.hidden, self.width)

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier with a fresh projection head."""
        projection = Projection(feature_width(model), self.hidden, self.width)
        return ProjectedState(model, projection.to(model.device))

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The mean contrastive loss of the batch, in nats; labels are not used."""
        if not isinstance(state, ProjectedState):
            raise TypeError(f"SimCLR runs on what its start() returned, not on a {type(state).__name__}")
        first, second = augmented(self.views, batch, step), augmented(self.views, batch, step)
        if self.attack is not None:
            with frozen(state):
                with torch.no_grad():
                    keys = state.embed(second)
                loss = InfoNCE(state.embed, batch_rows(keys), batch_positions(keys), self.temperature)
                first = self.attack(loss, first, step.threat, step.draws(batch.index))
        with step.autocast():
            one, other = state.embed(torch.cat((first, second))).float().chunk(2)
        return nt_xent(one, other, self.temperature)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean over i and both views of -log( exp(s(i, i')) / sum_{k != i} exp(s(i, k)) ), s = cos / temperature.

    Of a part of a batch, the mean is over its own views i, and k goes over those of the whole batch.

    Args:
        first: embeddings of the first views (N, D); row i belongs to row i of `second`.
        second: embeddings of the second views (N, D).
        temperature: divides the cosines.
    """
    both = functional.normalize(torch.cat((first, second)))
    everyone, n = both, len(first)
    if current_shard() is not None:
        everyone = torch.cat([batch_rows(each) for each in both.chunk(2)])
        n = len(everyone) // 2
    places = batch_positions(first)
    own = torch.cat((places, places + n))
    similarity = both @ everyone.T / temperature
    itself = own.unsqueeze(1) == torch.arange(2 * n, device=own.device)
    similarity = similarity.masked_fill(itself, -torch.inf)
    return functional.cross_entropy(similarity, (own + n) % (2 * n))
