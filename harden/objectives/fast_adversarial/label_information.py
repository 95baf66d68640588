"""LIET: adversarial training by one gradient step from perturbations that cancel information on the label."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from harden.data import Batch
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import Classify, LossFunction
from harden.models import Classifier, FastCopy, frozen
from harden.models.pass_count import uncounted
from harden.objectives.adversarial_training import FAST, AdversarialTraining
from harden.objectives.class_weighting import ClassWeights, checked_weights, weighted_mean
from harden.objectives.fast_adversarial.single_step import (
    check_linf,
    check_multiple,
    linf_budget,
    usable_gradient,
)
from harden.objectives.fast_copy_state import AttackedState
from harden.objectives.objective import Objective, Step
from harden.objectives.supervised import augmented
from harden.system.shards import is_first_part
from harden.threats import ChannelLinf, Linf, Threat
from harden.views import View

_GREY: Final = 0.5
_SMOOTHING, _IMAGE, _MASK, _NOISE, _CLASS = range(5)  # streams of random numbers


@final
class LabelSignState(nn.Module):
    """The classifier, and the signs of the gradient at the grey image for each class.

    Attributes:
        attacked: the classifier with its fast copy.
        signs: int8 (K, C, H, W); None before the shape of an image is known.
    """

    signs: Tensor | None

    def __init__(self, classifier: Classifier, how: FastCopy | None) -> None:
        super().__init__()
        self.attacked = AttackedState(classifier, how)
        self.register_buffer("signs", None)

    def hold(self, image_shape: tuple[int, ...]) -> Tensor:
        """Make the signs, 0, for images (C, H, W) and as many classes as the network has, and return them."""
        classifier = self.attacked.classifier
        grey = torch.full((2, *image_shape), _GREY, device=classifier.device)
        with frozen(classifier), torch.no_grad():
            classes = classifier.bare_logits(grey).shape[1]
        self.signs = torch.zeros(classes, *image_shape, dtype=torch.int8, device=classifier.device)
        return self.signs


@final
@dataclass(frozen=True, slots=True)
class LIET:
    """mean_i CE(z(x'_i), t_i) + lambda_t mean_i JS(p(x_i + s_i), p(x'_i)), with p = softmax z.

    x' = P(x + s + alpha eps sign(grad CE(x + s))), with the projection P onto the L-inf ball and the box. The
    start s is +e or -e. An entry of e is that of eps sign(grad CE(grey, y)), the perturbation of the constant
    image 1/2 for the label y, or with probability r uniform in [-k eps, k eps]. The targets t have 1 - h at
    the label, and h among the other classes in random proportions. lambda_t is `weight` times the share of
    the budget that is spent, and JS the Jensen-Shannon divergence.

    A perturbation of a constant image that raises the loss of a label is information on the label which
    transfers between images; starts with and against it are to prevent that the network learns from it.

    Source: Pan et al., Mitigating Catastrophic Overfitting in Fast Adversarial Training via Label Information
    Elimination (ICCV 2025, pages 2991-3000). Defaults are those of the authors' program
    (github.com/fzjcdt/LIET) for CIFAR-10 at 8/255; for CIFAR-100 it has weight=200, smoothing=0.8 and
    refresh=20, and above 8/255 weight=20, smoothing=0.4, masked=(0, 1), noise=2 and project=False, so that
    neither point is projected onto the ball. Here the sign of s and r are drawn for each image, there for a
    batch; gradients of images are those of the network in inference mode, there in training mode; t is drawn
    once a step, there for each of the losses.

    A step costs 3 passes for each image, and every `refresh` steps one more for each class. The state takes K
    images of int8.

    Args:
        weight: lambda at the end.
        smoothing: h, in [0, 1).
        masked: the range (low, high) of r, which is uniform in it.
        noise: k, in multiples of eps.
        step_size: alpha, in multiples of eps.
        project: whether x + s and x' are projected onto the ball.
        refresh: steps after which the perturbations of the constant image are computed anew.
        views: augmentation before the attack; none by default.
        class_weights: a weight for each class, which makes both means weighted ones; () for none.
        steering: the form of the network's copy whose gradients the attack uses; None for the network itself.

    Raises:
        InputError: a number is out of its range; a class weight is negative or not finite, or none is
            positive; when called, where the threat is not L-inf.
    """

    weight: float = 100.0
    smoothing: float = 0.6
    masked: tuple[float, float] = (0.1, 0.5)
    noise: float = 1.0
    step_size: float = 1.0
    project: bool = True
    refresh: int = 10
    views: View | None = None
    class_weights: ClassWeights = ()
    steering: FastCopy | None = FAST

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        object.__setattr__(self, "masked", tuple(self.masked))
        for name, limit in (("weight", math.inf), ("noise", math.inf), ("smoothing", 1.0)):
            value = getattr(self, name)
            if not 0 <= value < limit:
                usual = f"write LIET({name}={_usual(name)})"
                raise InputError(f"{name} {value}", f"a number in [0, {limit:g})", usual)
        check_multiple(self.step_size, "write LIET(step_size=1)")
        if len(self.masked) != 2 or not 0 <= self.masked[0] <= self.masked[1] <= 1:
            seen = f"masked {self.masked}"
            raise InputError(seen, "(low, high) with 0 <= low <= high <= 1", "write LIET(masked=(0.1, 0.5))")
        if self.refresh < 1:
            seen = f"a refresh every {self.refresh} steps"
            raise InputError(seen, "one step or more", "write LIET(refresh=10)")

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """Refuse a threat that is not L-inf, before any training."""
        check_linf("LIET", threat)

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier with its fast copy; the signs are made with the first batch."""
        return LabelSignState(model, self.steering)

    def start_on(self, model: Classifier, batch_shape: tuple[int, int, int, int]) -> nn.Module:
        """The classifier with its fast copy, and the signs for images of a batch (N, C, H, W)."""
        state = LabelSignState(model, self.steering)
        state.hold(batch_shape[1:])
        return state

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The loss of a batch."""
        if not isinstance(state, LabelSignState):
            raise TypeError(f"LIET runs on what its start() returned, not on a {type(state).__name__}")
        threat, attacked, draws = check_linf("LIET", step.threat), state.attacked, step.draws(batch.index)
        x, y = augmented(self.views, batch, step), batch.y
        signs = state.hold(tuple(x.shape[1:])) if state.signs is None else state.signs
        with attacked.still(x, bfloat16=step.bfloat16) as classify:
            if step.number % self.refresh == 0:
                with nullcontext() if is_first_part() else uncounted():  # all processes do the same
                    self._refresh_(signs, classify, step, len(x))
            x = attacked.lay_out(x)
            targets = smoothed(y, len(signs), self.smoothing, draws.fold(_SMOOTHING))
            start = self._start(x, signs[y], threat, draws)
            gradient = usable_gradient(_soft_cross_entropy(classify, targets), start)
            x_adv = self._moved(start, x, gradient, threat)
        with step.autocast():
            both = attacked.classifier.logits(torch.cat((x_adv, start)).contiguous())
        logits, before = both.chunk(2)
        losses = functional.cross_entropy(logits, targets, reduction="none")
        losses = losses + self.weight * step.progress * jensen_shannon(logits, before)
        return weighted_mean(losses, y, self.class_weights, len(signs))

    def stronger(self) -> Objective:
        """Adversarial training with two steps of PGD, and the same options where it has them."""
        return AdversarialTraining(views=self.views, class_weights=self.class_weights, steering=self.steering)

    def _refresh_(self, signs: Tensor, classify: Classify, step: Step, size: int) -> None:
        """Compute the signs anew, `size` classes at a time."""
        for labels in torch.split(torch.arange(len(signs), device=signs.device), size):
            draws = step.draws(labels).fold(_CLASS)
            targets = smoothed(labels, len(signs), self.smoothing, draws)
            grey = torch.full((len(labels), *signs.shape[1:]), _GREY, device=signs.device)
            signs[labels] = usable_gradient(_soft_cross_entropy(classify, targets), grey).sign().to(signs)

    def _start(self, x: Tensor, signs: Tensor, threat: Linf | ChannelLinf, draws: Draws) -> Tensor:
        """X + s, inside the box, and inside the ball where points are projected."""
        eps, shape = linf_budget(threat, x), tuple(x.shape[1:])
        share, side = draws.fold(_IMAGE).uniform((2,)).to(x.device).view(-1, 2, *[1] * len(shape)).unbind(1)
        low, high = self.masked
        replaced = draws.fold(_MASK).uniform(shape).to(x.device) < low + (high - low) * share
        noise = draws.fold(_NOISE).uniform(shape).to(x.device).mul_(2.0).sub_(1.0)
        entries = eps * torch.where(replaced, self.noise * noise, signs.to(x.dtype))
        start = (x + torch.where(side < 0.5, -entries, entries)).clamp(*threat.bounds)
        if self.project:
            threat.project_(start, x)
        return start

    def _moved(self, start: Tensor, x: Tensor, gradient: Tensor, threat: Linf | ChannelLinf) -> Tensor:
        if not self.project:
            moved = start + self.step_size * linf_budget(threat, x) * gradient.sign()
            return moved.clamp(*threat.bounds)
        x_adv, length = start.clone(), self.step_size * float(threat.eps)
        threat.step_(x_adv, x, gradient, torch.full((1,), length, dtype=torch.float32, device=x.device))
        return x_adv


def smoothed(y: Tensor, classes: int, share: float, draws: Draws) -> Tensor:
    """Targets (N, classes) with 1 - share at the label, and share among the others in random proportions."""
    parts = (draws.uniform((classes,)) + 2.0**-24).to(y.device).scatter(1, y.unsqueeze(1), 0.0)
    others = parts / parts.sum(1, keepdim=True).clamp_min(2.0**-24)
    return (1.0 - share) * functional.one_hot(y, classes) + share * others


def jensen_shannon(logits: Tensor, other: Tensor) -> Tensor:
    """(KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, p = softmax(logits) and q = softmax(other).

    Args:
        logits: (N, K).
        other: (N, K).

    Returns:
        In nats, (N,).
    """
    log_p, log_q = logits.log_softmax(1), other.log_softmax(1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2.0)
    return 0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(1)


def _soft_cross_entropy(classify: Classify, targets: Tensor) -> LossFunction:
    def loss(x: Tensor) -> Tensor:
        return functional.cross_entropy(classify(x), targets, reduction="none")

    return loss


def _usual(name: str) -> float:
    return {"weight": 100.0, "noise": 1.0, "smoothing": 0.6}[name]
