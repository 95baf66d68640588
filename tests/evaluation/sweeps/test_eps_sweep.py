"""Several eps in one call: each as in a call of its own, and robust accuracy never rises."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from harden.attacks import PGD
from harden.data import Splits
from harden.errors import InputError
from harden.evaluation import Attempt, evaluate, pgd_suite, robustness_curve
from harden.evaluation.sweeps.eps_sweep import SMALLER, _with_all_of
from harden.losses import Margin
from harden.models import Classifier
from harden.threats import L2, Linf, Threat

Data = tuple[Tensor, Tensor]
EPS = ("0.02", "0.05", "0.1")
SUITE = pgd_suite(steps=10, restarts=1)


@pytest.fixture
def data(digits: Splits) -> Data:
    return digits.test.x[:100], digits.test.y[:100]


def test_it_never_rises_and_every_witness_holds(plain: Classifier, data: Data) -> None:
    reported: list[tuple[str, int]] = []
    rungs = robustness_curve(
        plain,
        data,
        [Linf(eps) for eps in EPS],
        SUITE,
        batch_size=40,
        on_batch=lambda threat, at: reported.append((str(threat.eps), at.done)),
    )
    counts = [found.robust.count for found in rungs]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] > 0
    for smaller, larger in pairwise(rungs):
        assert bool((smaller.broken <= larger.broken).all())
        first = larger.attempts[0]
        assert (first.name, first.broken) == (SMALLER, int(smaller.broken.sum()))
        assert torch.equal(larger.broken_by == 0, smaller.broken)
    for eps, found in zip(EPS, rungs, strict=True):
        threat, witnesses = Linf(eps), found.witnesses
        assert len(witnesses) == int(found.broken.sum())
        assert bool(threat.contains(witnesses.witness, witnesses.original).all())
        with torch.no_grad():
            assert torch.equal(plain.logits(witnesses.witness).argmax(1), witnesses.prediction)
    assert reported == [(eps, done) for eps in ("1/50", "1/20", "1/10") for done in (40, 80, 100)]


def test_the_first_rung_is_an_evaluation_and_later_ones_lose_nothing(plain: Classifier, data: Data) -> None:
    rungs = robustness_curve(plain, data, [Linf(eps) for eps in EPS], SUITE)
    assert torch.equal(rungs[0].broken, evaluate(plain, data, Linf(EPS[0]), SUITE).broken)
    for eps, found in zip(EPS, rungs, strict=True):
        alone = evaluate(plain, data, Linf(eps), SUITE)
        assert found.robust.count <= alone.robust.count + 4  # the random starts of later attempts are others


def test_a_witness_that_rounding_loses_is_kept(plain: Classifier, data: Data) -> None:
    before = evaluate(plain, data, Linf("0.05"), SUITE)
    made = evaluate(plain, data, Linf("0.1"), [Attempt(SMALLER, PGD(steps=10), Margin), *SUITE])
    lost = (before.broken & made.broken).nonzero().flatten()[:3]
    rows = ~torch.isin(made.witnesses.index, lost)
    cut = type(made.witnesses)(
        *(getattr(made.witnesses, name)[rows] for name in made.witnesses.__dataclass_fields__)
    )
    broken, by = made.broken.clone(), made.broken_by.clone()
    broken[lost], by[lost] = False, -1
    mended = _with_all_of(before, replace(made, broken=broken, broken_by=by, witnesses=cut))
    assert torch.equal(mended.broken, made.broken)
    assert mended.witnesses.index.tolist() == made.witnesses.index.tolist()
    assert bool((mended.broken_by[lost] == 0).all())


def test_other_lists_of_threats_are_refused(plain: Classifier, data: Data) -> None:
    lists: list[list[Threat]] = [[], [Linf("0.1"), Linf("0.05")], [Linf("0.1")] * 2, [Linf("0.1"), L2(1)]]
    for threats in lists:
        with pytest.raises(InputError, match="rising eps"):
            robustness_curve(plain, data, threats, SUITE)
