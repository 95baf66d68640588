"""The work that is timed: the gradients of the suite for every commit, the same number for any network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from harden.attacks import APGD, Attack, Targeted
from harden.attacks.targeted import likeliest_others
from harden.draws import Draws
from harden.evaluation.attempt import Attempt
from harden.evaluation.probability_outputs import as_logits, output_of
from harden.evaluation.suite_definitions import quick
from harden.losses import Classify, LossFunction, loss_with_verdicts
from harden.models import Classifier, prepare
from harden.threats import Linf

STEPS = 3
"""Of each run of the suite's attacks: what is timed is a gradient and its step, not how far they lead."""

_THREAT = Linf("8/255")  # the same for all: without an early stop the time does not depend on it
_EXAMPLES = 4


def attack_work(model: Classifier, x: Tensor, y: Tensor) -> Callable[[], None]:
    """Make the workload of an attack with all of `quick`, on every image, misclassified or not.

    Each run takes `STEPS` steps on each of the images (N, C, H, W), so two networks that break at different
    moments do the same work. Gradients are of the copy that evaluations use.
    """
    fast = prepare(model, x[:_EXAMPLES], torch.float32)
    images = fast.lay_out(x.clone())
    with torch.no_grad():
        answer = fast(images)
    classify, draws = as_logits(fast, output_of(answer)), Draws(0, torch.arange(len(x)))
    runs = [
        partial(attack, loss, images, _THREAT, draws)
        for attempt in quick()
        for attack, loss in _runs(attempt.for_classes(answer.shape[1]), classify, images, y)
    ]

    def work() -> None:
        for run in runs:
            run()

    return work


def _runs(attempt: Attempt, classify: Classify, x: Tensor, y: Tensor) -> list[tuple[Attack, LossFunction]]:
    """An attempt as attacks that never stop early, aimed at each of its classes where it is aimed."""
    loss, attack = loss_with_verdicts(attempt.loss(classify, y)), attempt.attack
    if loss is None:
        raise TypeError(f"{attempt.name} maximises a plain function, which judges no errors")
    if not isinstance(attack, Targeted):
        return [(_without_stop(attack), loss)]
    with torch.no_grad():
        targets = likeliest_others(classify(x), y, attack.classes)
    return [(_without_stop(attack.attack), loss.aimed(targets[:, at])) for at in range(targets.shape[1])]


def _without_stop(attack: Attack) -> Attack:
    if not isinstance(attack, APGD):
        raise TypeError(f"{type(attack).__name__} among the attacks that are timed")
    return replace(attack, steps=STEPS, stop_early=False)
