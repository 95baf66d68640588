"""Images that several processes evaluate, a part each: the outcome of one process, in its order."""

from __future__ import annotations

from tests.processes import ended, started

PROGRAM = """
import torch
from harden.attacks import PGD
from harden.evaluation import Attempt
from harden.evaluation.robust_accuracy import evaluate_unchecked
from harden.evaluation.time_limit import OutOfTime
from harden.losses import Margin
from harden.models.pass_count import PassMeter, counting, interruptible
from harden.system.ranks import joined
from tests.training.several.cases import THREAT, images, network

ranks, model = joined(), network()
attempts = (Attempt("margin", PGD(steps=3, stop_early=True), Margin),)
for n, batch in ((23, 5), (4, 10), (2, 1)):  # parts that cut batches, and one batch for all
    source = images(n, batch)
    alone = evaluate_unchecked(model, source, THREAT, attempts, seed=3)
    with counting(PassMeter()) as meter:
        both = evaluate_unchecked(model, source, THREAT, attempts, seed=3, ranks=ranks)
    for name in ("labels", "predictions", "broken", "broken_by", "broken_at"):
        assert torch.equal(getattr(alone, name), getattr(both, name)), name
    assert (both.passes, both.status, both.left) == (alone.passes, alone.status, 0)
    assert both.attempts[0].attempted == alone.attempts[0].attempted
    assert abs(ranks.total(meter.passes) - both.passes) < 1e-6  # no image twice

def late():
    raise OutOfTime

# Time that is up in one process ends the evaluation in all.
try:
    with interruptible(late if ranks.rank else lambda: None):
        evaluate_unchecked(model, source, THREAT, attempts, ranks=ranks)
except OutOfTime:
    print("late", end="")
"""


def test_two_processes_find_what_one_finds() -> None:
    assert ended(started(["-c", PROGRAM], 2)) == [(0, "late", "")] * 2
