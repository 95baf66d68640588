"""FGSM-PGI: adversarial training by one gradient step from each image's perturbations of earlier epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from harden.data import Batch
from harden.draws import Draws
from harden.errors import InputError
from harden.models import Classifier, FastCopy
from harden.objectives.adversarial_training import FAST, AdversarialTraining
from harden.objectives.class_weighting import ClassWeights, checked_weights, cross_entropy, weighted_mean
from harden.objectives.fast_adversarial.single_step import check_linf, check_multiple, usable_gradient
from harden.objectives.fast_copy_state import AttackedState, attacked_cross_entropy
from harden.objectives.objective import Objective, Step
from harden.system.shards import batch_rows
from harden.threats import Threat

MEMORY_LIMIT: Final = 4 * 2**30
_LARGEST: Final = 6e4  # float16 ends at 65504
_BYTES: Final = 2  # of a float16


@final
class PriorState(nn.Module):
    """The classifier, and for each training image its prior perturbation and gradient momentum.

    Args:
        classifier: trained.
        n: number of training images.
        objective: whose state it is.

    Attributes:
        attacked: the classifier with its fast copy.
        prior: perturbations in pixel units, float16 (n, C, H, W); None before the images' shape is known.
        momentum: of gradients over their mean absolute entry, likewise; None with a decay of 0 too.
        visits: steps that each image has been part of, int64 (n,).
    """

    visits: Tensor
    prior: Tensor | None
    momentum: Tensor | None

    def __init__(self, classifier: Classifier, n: int, objective: PriorGuidedFGSM) -> None:
        super().__init__()
        self.attacked = AttackedState(classifier, objective.steering)
        self._objective = objective
        self.register_buffer("visits", torch.zeros(n, dtype=torch.int64, device=classifier.device))
        self.register_buffer("prior", None)
        self.register_buffer("momentum", None)

    def hold(self, image_shape: tuple[int, ...]) -> None:
        """Make the tensors for images (C, H, W).

        Raises:
            InputError: they take more memory than the objective allows.
        """
        n = len(self.visits)
        self._objective.check_size(n, image_shape)
        self.prior = torch.zeros(n, *image_shape, dtype=torch.float16, device=self.visits.device)
        self.momentum = torch.zeros_like(self.prior) if self._objective.decay else None

    def begin(self, x: Tensor, index: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """Give x + prior inside ball and box, with priors that are due drawn anew.

        A drawn prior is a corner of the ball, and its momentum is 0.
        """
        if self.prior is None:
            self.hold(tuple(x.shape[1:]))
        prior, momentum = self._tensors()
        fresh = self.visits[index] % self._objective.redraw == 0
        point = x + prior[index].to(x.dtype)
        threat.project_(point, x)  # float16 may have rounded outward, and eps may be another by now
        if bool(fresh.any()):
            rows = fresh.nonzero().squeeze(1)
            signs = draws.take(rows).uniform(tuple(x.shape[1:])).sub_(0.5).to(x.device)
            drawn, around = x[rows].clone(), x[rows]
            threat.step_(drawn, around, signs, _length(threat, 1.0, x))
            point[rows] = drawn
            if momentum is not None:
                momentum[index[rows]] = 0.0
        return point

    def keep(self, point: Tensor, x: Tensor, gradient: Tensor, index: Tensor, threat: Threat) -> None:
        """The next prior: a step from x + prior along the sign of the momentum that the gradient enters."""
        prior, momentum = self._tensors()
        everyone = batch_rows(index)  # the next process to have an image is another one
        if momentum is None:
            direction = gradient
        else:
            # Over the mean entry, not the sum: the sign is the same, and float16 holds numbers about 1.
            scale = gradient.abs().flatten(1).mean(1).clamp_min(1e-30).view(-1, *[1] * (x.dim() - 1))
            direction = self._objective.decay * momentum[index].to(x.dtype) + gradient / scale
            momentum[everyone] = batch_rows(direction.clamp(-_LARGEST, _LARGEST).to(momentum.dtype))
        following = point.clone()
        threat.step_(following, x, direction, _length(threat, self._objective.step_size, x))
        prior[everyone] = batch_rows((following - x).to(prior.dtype))
        self.visits[everyone] += 1

    def _tensors(self) -> tuple[Tensor, Tensor | None]:
        if self.prior is None:
            raise RuntimeError("the prior is made by hold(), for the shape of an image")
        return self.prior, self.momentum


@final
@dataclass(frozen=True, slots=True)
class PriorGuidedFGSM:
    """mean_i CE(z(x'_i), y_i) + lambda mean_i |z(x'_i) - z(x_i + p_i)|^2 / K (Jia et al., 2207.08859).

    FGSM-PGI with a prior from all earlier epochs (FGSM-MEP): x' = P(x + p + alpha eps sign g), where P is the
    projection onto ball and box and g = grad CE(x + p). Each training image has its own prior p and momentum
    m. A step replaces them by m <- mu m + g / |g|_1 and p <- P(x + p + alpha eps sign m) - x. The first prior
    is a random corner of the ball, and the first momentum 0. With mu = 0 the prior is the perturbation of the
    last epoch (FGSM-EP).

    Defaults are those of the authors' program. As in it, the regulariser is a mean over the K logits, where
    the paper writes their sum of squares. The program also smooths labels (by 4 / 9 on ten classes); here
    this is 0 by default. g is the gradient without smoothing, from the network in inference mode. Both terms
    of the loss come from one forward on x' and x + p, with BatchNorm statistics of both.

    A step costs 3 passes for each image, or 2 with a weight of 0. The state takes 4 n C H W bytes (two
    float16 tensors; half of that with mu = 0) on the device and in each checkpoint: 0.61 GB on CIFAR-10. A
    prior belongs to pixels, so images have to be the same in each epoch: there are no views, and a loader
    should neither move nor flip images. Training of one step can overfit to its attack; see
    `NFGSM`.

    Args:
        weight: lambda; 10 in the authors' program.
        step_size: alpha, in multiples of eps; 1 in the paper.
        decay: mu, in [0, 1); 0.3 in the paper.
        redraw: epochs after which an image's prior is drawn anew; 40 in the authors' program for CIFAR-10.
        memory_limit: largest size of prior and momentum in bytes.
        label_smoothing: mass moved from the label to all classes, in [0, 1).
        class_weights: a weight for each class, which makes both means weighted ones; () for none.
        steering: the form of the network's copy whose gradients the attack uses; None for the network itself.

    Raises:
        InputError: a number is out of its range; a class weight is negative or not finite, or none is
            positive; when started, where prior and momentum exceed `memory_limit`; when called, where the
            threat is not L-inf.
    """

    weight: float = 10.0
    step_size: float = 1.0
    decay: float = 0.3
    redraw: int = 40
    memory_limit: int = MEMORY_LIMIT
    label_smoothing: float = 0.0
    class_weights: ClassWeights = ()
    steering: FastCopy | None = FAST

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        if not 0 <= self.weight < float("inf"):
            raise InputError(
                f"weight {self.weight}", "a number of 0 or more", "write PriorGuidedFGSM(weight=10)"
            )
        check_multiple(self.step_size, "write PriorGuidedFGSM(step_size=1)")
        if not 0 <= self.decay < 1:
            raise InputError(f"decay {self.decay}", "a share in [0, 1)", "write PriorGuidedFGSM(decay=0.3)")
        if self.redraw < 1:
            seen = f"a prior drawn anew after {self.redraw} epochs"
            raise InputError(seen, "one epoch or more", "write PriorGuidedFGSM(redraw=40)")

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """Refuse a threat that is not L-inf, before any training."""
        check_linf("FGSM-PGI", threat)

    def check_size(self, n: int, image_shape: tuple[int, ...]) -> None:
        """Refuse more images (C, H, W) than the memory limit allows, before any training.

        Raises:
            InputError: prior and momentum of n images exceed it.
        """
        size = n * _BYTES * (2 if self.decay else 1)
        for length in image_shape:
            size *= length
        if size > self.memory_limit:
            raise InputError(
                f"{n:,} training images of shape {tuple(image_shape)}, whose priors take {size:,} bytes",
                f"at most {self.memory_limit:,} bytes on the device",
                f"write PriorGuidedFGSM(memory_limit={size}), or NFGSM(), which keeps nothing",
            )

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier with its fast copy; the tensors for n images are made with the first batch."""
        return PriorState(model, n, self)

    def start_with(self, model: Classifier, n: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """The classifier with its fast copy, and the tensors for n images (C, H, W).

        Raises:
            InputError: they exceed the memory limit.
        """
        state = PriorState(model, n, self)
        state.hold(image_shape)
        return state

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The loss of a batch; its images' priors move on."""
        if not isinstance(state, PriorState):
            raise TypeError(
                f"PriorGuidedFGSM runs on what its start() returned, not on a {type(state).__name__}"
            )
        threat, attacked, index = check_linf("FGSM-PGI", step.threat), state.attacked, batch.index
        with attacked.still(batch.x, bfloat16=step.bfloat16) as classify:
            x = attacked.lay_out(batch.x)
            point = state.begin(x, index, threat, step.draws(index))
            gradient = usable_gradient(attacked_cross_entropy(classify, batch.y), point)
            x_adv = point.clone()
            threat.step_(x_adv, x, gradient, _length(threat, self.step_size, x))
            state.keep(point, x, gradient, index, threat)
        both = (x_adv, point) if self.weight > 0 else (x_adv,)
        with step.autocast():
            found = attacked.classifier.logits(torch.cat(both).contiguous())
        if self.weight == 0:
            return cross_entropy(found, batch.y, self.class_weights, self.label_smoothing)
        logits, before = found.chunk(2)
        plain = cross_entropy(logits, batch.y, self.class_weights, self.label_smoothing)
        moved = (logits - before).square().mean(1)
        return plain + self.weight * weighted_mean(moved, batch.y, self.class_weights, logits.shape[1])

    def stronger(self) -> Objective:
        """Adversarial training with two steps of PGD, and the same options where it has them."""
        return AdversarialTraining(
            label_smoothing=self.label_smoothing,
            class_weights=self.class_weights,
            steering=self.steering,
        )


def _length(threat: Threat, multiple: float, x: Tensor) -> Tensor:
    return torch.full((1,), multiple * float(threat.eps), dtype=torch.float32, device=x.device)
