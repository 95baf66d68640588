"""Robust accuracy at several eps in one call: a witness at one eps is a witness at every larger one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from harden.draws import Draws
from harden.errors import InputError
from harden.evaluation.attempt import Attempt
from harden.evaluation.progress import EvaluationProgress
from harden.evaluation.results.batch_outcome import BatchWitnesses
from harden.evaluation.results.result import Evaluation, Witnesses
from harden.evaluation.results.spooled_columns import join_witnesses
from harden.evaluation.robust_accuracy import evaluate
from harden.evaluation.suite_definitions import standard
from harden.losses import Classify, LossFunction, Margin
from harden.models import Classifier
from harden.threats import Threat

SMALLER = "smaller-eps"

OnThreat = Callable[[Threat, EvaluationProgress], None]


def robustness_curve(
    model: Classifier,
    data: object,
    threats: Sequence[Threat],
    attempts: Sequence[Attempt] | None = None,
    *,
    judge: Classify | None = None,
    seed: int = 0,
    batch_size: int = 256,
    on_batch: OnThreat | None = None,
) -> tuple[Evaluation, ...]:
    """Evaluate under threats of one norm by rising eps, each with all attempts on the unbroken examples.

    Robust accuracy never rises with eps, by construction: at each eps the witnesses of the smaller ones come
    first, as an attempt named "smaller-eps".

    Args:
        model: gives the gradients.
        data: Examples, a tuple (x, y) or a DataLoader that can be iterated more than once.
        threats: of one norm and one box, by rising eps.
        attempts: the suite `standard` by default.
        judge: decides every prediction; the model itself by default.
        seed: of the random starts.
        batch_size: images at a time, where data brings no batches of its own.
        on_batch: called after every batch with the threat and the `EvaluationProgress` so far.

    Returns:
        an evaluation for each threat, as from `harden.evaluate`.

    Raises:
        InputError: there are no threats, they differ in more than eps, or are not in increasing order;
            otherwise as `evaluate`.
    """
    _check(threats)
    suite = standard() if attempts is None else tuple(attempts)
    found: list[Evaluation] = []
    for threat in threats:
        before = found[-1] if found else None
        known = () if before is None else (Attempt(SMALLER, WitnessReplay(before.witnesses), Margin),)
        on_progress = None if on_batch is None else _for_threat(on_batch, threat)
        made = evaluate(
            model,
            data,
            threat,
            (*known, *suite),
            judge=judge,
            seed=seed,
            batch_size=batch_size,
            on_batch=on_progress,
        )
        found.append(made if before is None else _with_all_of(before, made))
    return tuple(found)


@final
class WitnessReplay:
    """An attack that returns stored witnesses, and the clean image where there is none."""

    gradient_free = True

    def __init__(self, witnesses: Witnesses) -> None:
        self._witness = dict(zip(witnesses.index.tolist(), witnesses.witness, strict=True))

    def __call__(self, loss: LossFunction, x: Tensor, threat: Threat, draws: Draws) -> Tensor:
        """The stored witness of each example, by its id, or its image x where there is none."""
        del loss, threat
        found = [self._witness.get(id_, clean) for id_, clean in zip(draws.ids.tolist(), x, strict=True)]
        return torch.stack([one.to(x) for one in found]) if found else x.clone()


def _check(threats: Sequence[Threat]) -> None:
    kinds = {(threat.name, threat.bounds) for threat in threats}
    sizes = [threat.eps for threat in threats]
    if len(kinds) != 1 or any(one >= other for one, other in pairwise(sizes)):
        raise InputError(
            f"the threats {', '.join(map(repr, threats)) or 'none'}",
            "threats of one norm and box, by rising eps",
            'write [harden.Linf("2/255"), harden.Linf("4/255")]',
        )


def _for_threat(on_batch: OnThreat, threat: Threat) -> Callable[[EvaluationProgress], None]:
    return lambda at: on_batch(threat, at)


def _with_all_of(before: Evaluation, made: Evaluation) -> Evaluation:
    """The later evaluation with every witness of the earlier one.

    Judged again in another batch, a witness close to the boundary may be classified correctly by rounding. It
    remains a witness: the judge has misclassified it once.
    """
    lost = (before.broken & ~made.broken).nonzero().flatten()
    if len(lost) == 0:
        return made
    rows = torch.isin(before.witnesses.index, lost)
    kept = BatchWitnesses(
        *(getattr(before.witnesses, name)[rows] for name in BatchWitnesses.__dataclass_fields__)
    )
    broken, by, records = made.broken.clone(), made.broken_by.clone(), list(made.attempts)
    broken[lost], by[lost] = True, 0
    for place, record in enumerate(records):
        robust = replace(record.robust, count=record.robust.count - len(lost))
        met = record.attempted - (len(lost) if place else 0)
        records[place] = replace(record, attempted=met, robust=robust)
    records[0] = replace(records[0], broken=records[0].broken + len(lost))
    own = made.witnesses
    parts = [BatchWitnesses(own.index, own.label, own.prediction, own.original, own.witness), kept]
    return replace(
        made, broken=broken, broken_by=by, attempts=tuple(records), witnesses=join_witnesses(parts)
    )
