"""Free adversarial training: one backward gives the gradients of both the weights and the images."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from harden.data import Batch
from harden.errors import InputError
from harden.models import Classifier
from harden.objectives.adversarial_training import AdversarialTraining
from harden.objectives.class_weighting import ClassWeights, checked_weights, cross_entropy
from harden.objectives.fast_adversarial.single_step import check_multiple
from harden.objectives.objective import Objective, Step
from harden.objectives.supervised import augmented
from harden.system.shards import Shard, batch_positions, batch_rows, current_shard, in_shard
from harden.threats import Threat
from harden.views import View


@final
class ReplayState(nn.Module):
    """The classifier, and the perturbation that the next batch starts from.

    Args:
        classifier: trained.
        step_size: of the perturbation, in multiples of eps.

    Attributes:
        perturbation: in pixel units, float32 (N, C, H, W), a row for each place in a batch; None before the
            shape of a batch is known.
    """

    perturbation: Tensor | None

    def __init__(self, classifier: Classifier, step_size: float) -> None:
        super().__init__()
        self.classifier = classifier
        self._step_size = step_size
        self._attacked: tuple[Tensor, Tensor, Shard | None] | None = None
        self.register_buffer("perturbation", None)

    def hold(self, batch_shape: tuple[int, ...]) -> None:
        """Make the perturbation, 0, for batches of up to this shape (N, C, H, W)."""
        self.perturbation = torch.zeros(batch_shape, device=self.classifier.device)

    def begin(self, x: Tensor, threat: Threat) -> Tensor:
        """Give x + d inside ball and box, as a leaf that receives its gradient from the step's backward.

        Images beyond the rows of the perturbation, in a batch that is larger than the others, start at x.
        """
        shard = current_shard()
        if self.perturbation is None:
            self.hold((len(x) if shard is None else shard.n, *x.shape[1:]))
        clean = x.detach().contiguous()
        point = clean.clone()
        rows = self._rows(clean)
        point[: len(rows)] += rows
        threat.project_(point, clean)
        self._attacked = (point.requires_grad_(), clean, shard)
        return point

    def after_step(self, step: Step) -> None:
        """Move the perturbation along the gradient that this step's backward left at its images.

        Raises:
            InputError: the step's backward did not reach them.
        """
        if self._attacked is None:
            return
        point, clean, shard = self._attacked
        self._attacked = None
        if point.grad is None:
            raise InputError(
                "a step of FreeAdversarialTraining without a gradient of its images",
                "loss.backward() on the value that it returned",
                "call backward(), and not torch.autograd.grad(loss, weights)",
            )
        following, gradient = point.detach().clone(), point.grad.nan_to_num(0.0, 0.0, 0.0)
        size = torch.full((1,), self._step_size * float(step.threat.eps), device=clean.device)
        with torch.no_grad(), nullcontext() if shard is None else in_shard(shard):
            step.threat.step_(following, clean, gradient, size)
            moved = batch_rows(following - clean)
            rows = self._held()[: len(moved)]
            rows.copy_(moved[: len(rows)])

    def _rows(self, x: Tensor) -> Tensor:
        """The perturbations of this process's places in the batch; fewer than images in a larger batch."""
        places = batch_positions(x)
        first = int(places[0]) if len(places) else 0
        return self._held()[first : first + len(x)]

    def _held(self) -> Tensor:
        if self.perturbation is None:
            raise RuntimeError("the perturbation is made by hold(), for the shape of a batch")
        return self.perturbation


@final
@dataclass(frozen=True, slots=True)
class FreeAdversarialTraining:
    """mean_i CE(z(x_i + d_i), y_i), m steps in a row on each batch (Shafahi et al., 1904.12843; Free-m).

    A step's backward gives the gradient of the weights, for the optimiser, and that of the images, for
    d <- P(x + d + alpha eps s(g)) - x, with the projection P onto ball and box and the threat's steepest
    direction s (the sign for L-inf). So there are no passes of an attack: a step costs 1 pass for each image,
    and its one forward is in training mode. d is 0 at first; as in the authors' program, place k of a batch
    begins with what place k of the batch before ended with. All replays of a batch have the same views.

    Each replay counts as images that went through the optimiser: a budget of m epochs reads each image once.
    The paper has m = 8 for CIFAR-10 and m = 4 for ImageNet.

    Args:
        replays: m, the steps in a row on each batch.
        step_size: alpha, in multiples of eps; 1 in the paper.
        views: augmentation before the attack; none by default.
        label_smoothing: mass moved from the label to all classes, in [0, 1).
        class_weights: a weight for each class, which makes the mean a weighted one; () for none.

    Raises:
        InputError: fewer replays than one, a step size that is not positive and finite; a class weight is
            negative or not finite, or none is positive.
    """

    replays: int = 4
    step_size: float = 1.0
    views: View | None = None
    label_smoothing: float = 0.0
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        if self.replays < 1 or self.replays != int(self.replays):
            seen = f"{self.replays} replays of each batch"
            raise InputError(seen, "a whole number, 1 or more", "write FreeAdversarialTraining(replays=4)")
        check_multiple(self.step_size, "write FreeAdversarialTraining(step_size=1)")

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier; the perturbation is made with the first batch."""
        return ReplayState(model, self.step_size)

    def start_on(self, model: Classifier, batch_shape: tuple[int, int, int, int]) -> nn.Module:
        """The classifier, and the perturbation for batches of up to this shape (N, C, H, W)."""
        state = ReplayState(model, self.step_size)
        state.hold(batch_shape)
        return state

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The mean cross-entropy of the perturbed batch; its backward also moves the perturbation."""
        if not isinstance(state, ReplayState):
            raise TypeError(
                f"FreeAdversarialTraining runs on what its start() returned, not on a {type(state).__name__}"
            )
        x_adv = state.begin(augmented(self.views, batch, step), step.threat)
        with step.autocast():
            logits = state.classifier.logits(x_adv)
        return cross_entropy(logits, batch.y, self.class_weights, self.label_smoothing)

    def stronger(self) -> Objective:
        """Adversarial training with two steps of PGD, on batches that the loop passes as often as before."""
        return AdversarialTraining(
            views=self.views, label_smoothing=self.label_smoothing, class_weights=self.class_weights
        )
