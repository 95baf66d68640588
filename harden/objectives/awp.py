"""Adversarial weight perturbation: any objective's loss at weights that are moved so as to increase it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from harden.attacks import Attack
from harden.data import Batch
from harden.draws import Draws
from harden.errors import InputError
from harden.losses import LossFunction
from harden.models import Classifier
from harden.objectives.class_weighting import ClassWeights
from harden.objectives.multi_norm import MultiNorm
from harden.objectives.objective import ChecksFirst, Objective, ReplaysBatches, Step, stronger
from harden.system.shards import batch_gradients, batch_share
from harden.threats import Threat


@final
@dataclass(frozen=True, slots=True)
class AWP:
    """L(w + v) for an objective's loss L, with v_t = gamma |w_t| g_t / |g_t| for each weight tensor w_t.

    g is the gradient of L at the weights w, |.| the 2-norm of a whole tensor; biases, other vectors and
    frozen weights are not moved. The gradient that the optimiser gets is that of L at w + v, with v as a
    constant. Both evaluations see the same images, views and dropout. What the first one changes in buffers,
    such as BatchNorm statistics or a queue of keys, is undone.

    A step costs the passes of a second evaluation in addition, without the attack: both evaluations use the
    images that the attack found at w. This holds for objectives that are dataclasses with a field `attack`,
    such as `AdversarialTraining`, `TRADES` and `MART`, and for `MultiNorm` around them; others attack again
    at w + v, and pay for it.

    Guarantee: after the call, also one that raises, every weight has the bits that it had before.

    Source: Wu, Xia and Wang, 2004.05884, with one step for v.

    Args:
        objective: the objective whose loss is L.
        gamma: length of v_t as a multiple of that of w_t; 0 for none. The published code has 0.005 for TRADES
            and 0.01 for adversarial training.
        warmup: share of the stage before which the weights are not perturbed, in [0, 1].

    Raises:
        InputError: gamma is negative or not finite, the warm-up outside [0, 1], or the objective one that
            replays batches: its perturbation follows from the gradient of the step, which is not that at w.
    """

    objective: Objective
    gamma: float = 0.005
    warmup: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < float("inf"):
            seen = f"a gamma of {self.gamma}"
            raise InputError(seen, "a finite factor of 0 or more", "write AWP(objective, gamma=0.005)")
        if not 0 <= self.warmup <= 1:
            seen = f"a warm-up of {self.warmup}"
            raise InputError(seen, "a share in [0, 1]", "write AWP(objective, warmup=0.1)")
        if isinstance(self.objective, ReplaysBatches):
            raise InputError(
                f"AWP around {type(self.objective).__name__}, which attacks with the gradient of its step",
                "an objective whose gradient AWP may take for itself",
                "write AWP(AdversarialTraining())",
            )

    @property
    def class_weights(self) -> ClassWeights:
        """The objective's weight for each class; () where it has none."""
        weights: ClassWeights = getattr(self.objective, "class_weights", ())
        return weights

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """Check network and threat as the objective does, where it does.

        Raises:
            InputError: the objective can't train this network against this threat.
        """
        if isinstance(self.objective, ChecksFirst):
            self.objective.check(model, image_shape, threat)

    def stronger(self) -> Objective | None:
        """AWP of the objective with more steps of its attack; None where that has enough."""
        following = stronger(self.objective)
        return None if following is None else replace(self, objective=following)

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The objective's own state: nothing is kept between steps."""
        return self.objective.start(model, n)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The objective's loss at the perturbed weights; backward gives its gradient there."""
        weights = [weight for weight in state.parameters() if weight.requires_grad]
        moved = [weight for weight in weights if weight.dim() > 1]
        if self.gamma == 0 or step.progress < self.warmup or not moved:
            return self.objective(state, batch, step)
        first, second = _attacking_once(self.objective)
        share = batch_share()
        with _without_trace(state, step):
            loss = first(state, batch, step) * share
            ascent = batch_gradients(torch.autograd.grad(loss, moved, allow_unused=True), moved)
        with _perturbed(moved, ascent, self.gamma):
            loss = second(state, batch, step)
            # Taken here and not in the loop's backward, so that no caller ever sees perturbed weights.
            gradients = torch.autograd.grad(loss * share, weights, allow_unused=True)
        found: Tensor = _KnownGradient.apply(loss.detach(), (gradients, share), *weights)
        return found


def without_wrappers(objective: Objective) -> Objective:
    """The objective inside AWP and MultiNorm; any other objective as it is."""
    while isinstance(objective, AWP | MultiNorm):
        objective = objective.objective
    return objective


def past_warmup(objective: Objective) -> Objective:
    """The objective as it is after its warm-up, for measurements of what a step costs."""
    return replace(objective, warmup=0.0) if isinstance(objective, AWP) else objective


class _KnownGradient(torch.autograd.Function):
    """A value whose gradient with respect to the weights was computed before, times a share."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, known: tuple[Sequence[Tensor | None], float], *weights: Tensor
    ) -> Tensor:
        del weights
        ctx.gradients, ctx.share = known
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        factor = above[0] / ctx.share
        return None, None, *(None if each is None else factor * each for each in ctx.gradients)


def _attacking_once(objective: Objective) -> tuple[Objective, Objective]:
    """The objective for two evaluations in a row: the second one gets the images that the first one found."""
    if isinstance(objective, MultiNorm):
        first, second = _attacking_once(objective.objective)
        return replace(objective, objective=first), replace(objective, objective=second)
    attack: Attack | None = getattr(objective, "attack", None)
    if attack is None or not is_dataclass(objective) or "attack" not in _arguments(objective):
        return objective, objective
    attacked: list[Tensor] = []

    def search(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        attacked.append(attack(loss, x, threat, draws))
        return attacked[-1]

    def repeat(loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        return attacked.pop(0) if attacked else attack(loss, x, threat, draws)

    return replace(objective, attack=search), replace(objective, attack=repeat)


def _arguments(objective: Any) -> set[str]:
    return {field.name for field in fields(objective) if field.init}


@contextmanager
def _without_trace(state: nn.Module, step: Step) -> Iterator[None]:
    """Restore buffers and random generators after the context."""
    kept = [
        (part, name, buffer, buffer.detach().clone())
        for part in state.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    device, drawn = step.generator.device, step.generator.get_state()
    try:
        with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
            yield
    finally:
        step.generator.set_state(drawn)
        with torch.no_grad():
            for part, name, buffer, value in kept:
                buffer.copy_(value)
                setattr(part, name, buffer)  # a forward may have put another tensor in its place


@contextmanager
def _perturbed(weights: Sequence[Tensor], ascent: Sequence[Tensor | None], gamma: float) -> Iterator[None]:
    """Move weights along their gradients inside the context, and give them their bits back afterwards."""
    kept = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for weight, gradient in zip(weights, ascent, strict=True):
                if gradient is not None:
                    weight.add_(_direction(gradient) * (gamma * weight.norm()))
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, kept, strict=True):
                weight.copy_(value)


def _direction(gradient: Tensor) -> Tensor:
    """The gradient at length one; 0 where it is 0."""
    # By the largest element first: the squares of a small gradient would underflow.
    scaled = gradient / gradient.abs().amax().clamp(min=torch.finfo(gradient.dtype).tiny)
    length: Tensor = scaled.norm().clamp(min=1.0)
    return scaled / length
