"""Certified training: what is minimised is a bound of the loss over the whole ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from torch import Tensor, nn

from harden.attacks import PGD, Attack
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.interval_margins import interval_margins, linear_margins, worst_logits
from harden.data import Batch
from harden.errors import InputError
from harden.models import Classifier
from harden.models.pass_count import count
from harden.objectives.bound_graph_state import (
    BoundedState,
    Seen,
    bounded_state,
    box,
    check_bounded,
    draw_for_intervals_,
)
from harden.objectives.bound_tightness import warm_up_penalty
from harden.objectives.class_weighting import ClassWeights, checked_weights, cross_entropy, weighted_mean
from harden.objectives.fast_copy_state import attacked_cross_entropy
from harden.objectives.objective import Step
from harden.objectives.supervised import augmented
from harden.threats import Threat
from harden.views import View

TRAINING_ATTACK: Final = PGD(steps=8, step_size=0.25, keep_best=False)


@final
@dataclass(frozen=True, slots=True)
class WarmUp:
    """How certified training begins (Shi et al., arXiv 2103.17268).

    Args:
        redraw: whether weights are drawn anew so that intervals keep their width; else training goes on from
            those that the network has.
        penalty: weight of the regularisers for tight intervals and balanced ReLUs; it falls to 0 as eps
            rises. 0.5 in the paper.
    """

    redraw: bool = True
    penalty: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.penalty < float("inf"):
            raise InputError(f"a penalty of {self.penalty}", "a weight of 0 or more", "write penalty=0.5")

    def start(self, model: Classifier) -> nn.Module:
        """The state; the weights are drawn anew if the objective says so."""
        if self.redraw:
            draw_for_intervals_(model)
        return BoundedState(model)

    def of(self, found: Relaxation, step: Step) -> Tensor | float:
        """What is added to the loss in a step."""
        weight = self.penalty * (1 - step.share)
        return weight * warm_up_penalty(found) if weight > 0 else 0.0


WARM_UP: Final = WarmUp()


@final
@dataclass(frozen=True, slots=True)
class IBP:
    """k mean_i CE(z(x_i), y_i) + (1 - k) mean_i CE(w_i, y_i), w_i the worst logits that intervals allow.

    Interval bound propagation (Gowal et al., 1810.12715): w_i has 0 for the label and for each other class
    minus the least margin over the box of radius eps, bounded with the last layer left out. Started and
    regularised as in Shi et al. (2103.17268). BatchNorms have the statistics of the clean images.

    Args:
        clean: k, in [0, 1).
        warm_up: how training begins.
        views: augmentation; none by default.
        class_weights: a weight for each class, which makes the means weighted ones; () for none.

    Raises:
        InputError: a share or a weight is out of range; when called, where the threat is not L-inf, or an
            operation of the network has no rule.
    """

    clean: float = 0.0
    warm_up: WarmUp = WARM_UP
    views: View | None = None
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        _check_share("clean", self.clean)

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """Refuse a threat that is not L-inf and a network that can't be bounded, before any training."""
        check_bounded(model, image_shape, threat)

    def start(self, model: Classifier, n: int) -> nn.Module:
        """The classifier, with its weights drawn anew unless `warm_up` says otherwise."""
        return self.warm_up.start(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The loss of a batch."""
        x = augmented(self.views, batch, step)
        seen = bounded_state(state).seen(x)
        found = seen.bounds(*box(x, step.threat))
        robust = _worst(interval_margins(found, batch.y), batch.y, self.class_weights)
        plain = cross_entropy(seen.logits, batch.y, self.class_weights) if self.clean > 0 else 0.0
        return self.clean * plain + (1 - self.clean) * robust + self.warm_up.of(found, step)


@final
@dataclass(frozen=True, slots=True)
class CROWNIBP:
    """mean_i CE(w_i, y_i), margins b (lines carried back) + (1 - b) (intervals) (Zhang et al., 1906.06316).

    b falls from 1 to `end` as eps rises: lines on intervals help while training begins, intervals alone hold
    at full eps. A step costs K - 1 more backward passes while b is not 0.

    Args:
        end: b at full eps, in [0, 1].
        warm_up: how training begins.
        views: augmentation; none by default.
        class_weights: a weight for each class, which makes the mean a weighted one; () for none.

    Raises:
        InputError: as IBP.
    """

    end: float = 0.0
    warm_up: WarmUp = WARM_UP
    views: View | None = None
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        _check_share("end", self.end, most=1.0)

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """As IBP."""
        check_bounded(model, image_shape, threat)

    def start(self, model: Classifier, n: int) -> nn.Module:
        """As IBP."""
        return self.warm_up.start(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The loss of a batch."""
        x = augmented(self.views, batch, step)
        found = bounded_state(state).seen(x).bounds(*box(x, step.threat))
        margins = interval_margins(found, batch.y)
        lines = 1 - (1 - self.end) * step.share
        if lines > 0:
            count(margins.numel())
            margins = lines * linear_margins(found, batch.y) + (1 - lines) * margins
        return _worst(margins, batch.y, self.class_weights) + self.warm_up.of(found, step)


@final
@dataclass(frozen=True, slots=True)
class SABR:
    """IBP over a small box of radius tau eps around an attacked image (Mueller et al., 2210.04871).

    The attack stays within (1 - tau) eps, so that the small box lies in the ball. What is minimised is no
    bound over the ball: certified accuracy shows what it has brought.

    Args:
        tau: the small box's radius as a share of eps, in (0, 1]; 1 is IBP.
        attack: how its centre is searched.
        warm_up: how training begins.
        views: augmentation; none by default.
        class_weights: a weight for each class, which makes the mean a weighted one; () for none.

    Raises:
        InputError: as IBP.
    """

    tau: float = 0.4
    attack: Attack = TRAINING_ATTACK
    warm_up: WarmUp = WARM_UP
    views: View | None = None
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        if not 0 < self.tau <= 1:
            raise InputError(f"tau {self.tau}", "a share in (0, 1]", "write SABR(tau=0.4)")

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """As IBP."""
        check_bounded(model, image_shape, threat)

    def start(self, model: Classifier, n: int) -> nn.Module:
        """As IBP."""
        return self.warm_up.start(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The loss of a batch."""
        x = augmented(self.views, batch, step)
        box(x, step.threat)  # another threat is refused before it is attacked
        seen = bounded_state(state).seen(x)
        centre = x if self.tau == 1 else _attacked(seen, x, batch, step, self.attack, 1 - self.tau)
        found = seen.bounds(*box(centre, step.threat, self.tau))
        return _worst(interval_margins(found, batch.y), batch.y, self.class_weights) + self.warm_up.of(
            found, step
        )


@final
@dataclass(frozen=True, slots=True)
class MTLIBP:
    """(1 - a) mean_i CE(z(x'_i), y_i) + a mean_i CE(w_i, y_i) (De Palma et al., 2305.13991).

    x' is found by the attack, w are IBP's worst logits over the whole ball.

    Args:
        alpha: a, in [0, 1]; 1 is IBP, 0 adversarial training.
        attack: how x' is searched.
        warm_up: how training begins.
        views: augmentation; none by default.
        class_weights: a weight for each class, which makes the means weighted ones; () for none.

    Raises:
        InputError: as IBP.
    """

    alpha: float = 0.1
    attack: Attack = TRAINING_ATTACK
    warm_up: WarmUp = WARM_UP
    views: View | None = None
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_weights", checked_weights(self.class_weights))
        _check_share("alpha", self.alpha, most=1.0)

    def check(self, model: Classifier, image_shape: tuple[int, int, int], threat: Threat) -> None:
        """As IBP."""
        check_bounded(model, image_shape, threat)

    def start(self, model: Classifier, n: int) -> nn.Module:
        """As IBP."""
        return self.warm_up.start(model)

    def __call__(self, state: nn.Module, batch: Batch, step: Step) -> Tensor:
        """The loss of a batch."""
        x = augmented(self.views, batch, step)
        lower, upper = box(x, step.threat)
        seen = bounded_state(state).seen(x)
        attacked = seen.answer(_attacked(seen, x, batch, step, self.attack, 1.0))
        found = seen.bounds(lower, upper)
        robust = _worst(interval_margins(found, batch.y), batch.y, self.class_weights)
        empirical = cross_entropy(attacked, batch.y, self.class_weights)
        return (1 - self.alpha) * empirical + self.alpha * robust + self.warm_up.of(found, step)


def _worst(margins: Tensor, y: Tensor, weights: ClassWeights) -> Tensor:
    """The mean cross-entropy of the logits that margins (N, K - 1) allow."""
    losses = -worst_logits(margins).log_softmax(1)[:, 0]
    return weighted_mean(losses, y, weights, margins.shape[1] + 1)


def _attacked(seen: Seen, x: Tensor, batch: Batch, step: Step, attack: Attack, share: float) -> Tensor:
    """Images with a large cross-entropy within a share of eps."""
    loss = attacked_cross_entropy(seen.still().answer, batch.y)
    return attack(loss, x, step.threat.scaled(share), step.draws(batch.index)).contiguous()


def _check_share(name: str, value: float, most: float = 0.999) -> None:
    if not 0 <= value <= most:
        raise InputError(f"{name} {value}", f"a share from 0 to {most:g}", f"write {name}=0")
