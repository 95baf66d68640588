"""State of objectives that attack the classifier, with the fast copy that gives the attack's gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from torch import Tensor, nn
from torch.nn import functional

from harden.losses import Classify, LossFunction
from harden.models import Classifier, FastCopy, PreparedNetwork, frozen, prepare

_EXAMPLES = 4


@final
class AttackedState(nn.Module):
    """Holds the classifier; a fast copy is made with the first batch and is no part of a checkpoint.

    Args:
        classifier: trained.
        how: the copy's form; None to attack the classifier itself.
    """

    def __init__(self, classifier: Classifier, how: FastCopy | None) -> None:
        super().__init__()
        self.classifier = classifier
        self._how = how
        self._copy: PreparedNetwork | None = None

    @contextmanager
    def still(self, x: Tensor, *, bfloat16: bool = False) -> Iterator[Classify]:
        """The classifier for the gradients of an attack on the images x: in inference mode, as it is now.

        Args:
            x: images (N, C, H, W).
            bfloat16: whether the fast copy computes in bfloat16 though its form does not say so.
        """
        with frozen(self.classifier):
            if self._how is None:
                yield self.classifier.logits
                return
            if self._copy is None:
                how = FastCopy(bfloat16=True) if bfloat16 else self._how
                self._copy = prepare(self.classifier, x[:_EXAMPLES], how.precision)
            else:
                self._copy.refresh_()
            yield self._copy

    def lay_out(self, x: Tensor) -> Tensor:
        """The images in the memory order that suits the copy."""
        return x if self._copy is None else self._copy.lay_out(x)


def attacked_cross_entropy(classify: Classify, y: Tensor) -> LossFunction:
    """The cross-entropy (N,) of images as a plain function, which an attack maximises to its last step.

    Training needs the largest loss, and no preference for an error.
    """

    def loss(x: Tensor) -> Tensor:
        return functional.cross_entropy(classify(x), y, reduction="none")

    return loss


def attacked_state(state: nn.Module) -> AttackedState:
    """The state as what `start` of an attacking objective made.

    Raises:
        TypeError: it is another.
    """
    if not isinstance(state, AttackedState):
        raise TypeError(f"this objective's start() makes an AttackedState, and not a {type(state).__name__}")
    return state
