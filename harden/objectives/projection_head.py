"""The projection head: an MLP on the features for contrastive losses, dropped after pretraining."""

from __future__ import annotations

from torch import Tensor, nn

from harden.errors import InputError
from harden.models import Classifier


class Projection(nn.Module):
    """features (N, D) -> embeddings (N, width) through one hidden layer with BatchNorm (2002.05709)."""

    def __init__(self, features: int, hidden: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings, not yet of length one."""
        embeddings: Tensor = self.layers(features)
        return embeddings


def feature_width(classifier: Classifier, purpose: str = "contrastive pretraining") -> int:
    """How many features the classifier's head receives.

    Raises:
        InputError: the head is not linear, so that the width can't be read from it.
    """
    head = classifier.head
    if not isinstance(head, nn.Linear):
        seen = f"the head {classifier.head_name!r}, a {type(head).__name__}"
        raise InputError(seen, f"an nn.Linear for {purpose}", "name it: Classifier(network, head=...)")
    return head.in_features


def check_contrast(temperature: float, hidden: int, width: int) -> None:
    """Check what contrastive objectives have in common.

    Raises:
        InputError: the temperature is not positive, or a width is below 1.
    """
    if not 0 < temperature < float("inf"):
        raise InputError(f"temperature {temperature}", "a positive number", "write temperature=0.5")
    if hidden < 1 or width < 1:
        seen = f"a projection head of widths {hidden} and {width}"
        raise InputError(seen, "at least 1 each", "write hidden=256, width=128")
