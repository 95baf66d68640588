"""The search over sign directions against one written by hand, an example at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from harden.attacks.engine.loss_adapter import LossAdapter
from harden.attacks.rays_search import RaysSearch
from harden.threats import Linf
from tests.attacks.limited_sum import SHAPES, Above, limited_sums


def _by_hand(errs: Callable[[Tensor], bool], x: Tensor, queries: int, tolerance: float) -> float:
    """The radius that algorithm 3 of the paper finds for one example, in so many queries."""
    flat, d = x.flatten(), x.numel()
    gap, queried = tolerance / math.sqrt(d), 0
    sign, radius, found, level, block = torch.ones(d), 1.0, False, -1, 0

    def queried_at(trial: Tensor, r: float) -> bool:
        nonlocal queried
        queried += 1
        return errs((flat + torch.tensor(r, dtype=torch.float32) * trial).clamp(0, 1).view(x.shape))

    while True:
        size = math.ceil(d / 2 ** max(level, 0))
        start, stop = (0, 0) if level < 0 else (block * size, min((block + 1) * size, d))
        trial = sign.clone()
        trial[start:stop] *= -1
        if queried == queries:
            break
        high = max(radius - gap, 0.0) if found else radius
        if queried_at(trial, high):
            low = 0.0
            while high - low > gap:
                if queried == queries:
                    return radius if found else math.inf
                middle = (low + high) / 2
                low, high = (low, middle) if queried_at(trial, middle) else (middle, high)
            sign, radius, found = trial, high, True
        if level < 0 or stop == d:
            level, block = min(level + 1, math.ceil(math.log2(d))), 0
        else:
            block += 1
    return radius if found else math.inf


def _search(loss: Above, x: Tensor, *, within: bool) -> RaysSearch:
    return RaysSearch(LossAdapter(loss, gradient=False), x, Linf("1/10"), within=within)


def _errs(w: Tensor, limit: Tensor, x: Tensor) -> bool:
    return bool((w * x).double().sum() > limit)


@pytest.mark.parametrize("queries", [5, 40, 200])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_search_of_the_paper(shape: tuple[int, ...], queries: int) -> None:
    x, loss = limited_sums(6, shape, seed=sum(shape))
    found = _search(loss, x, within=False).run(queries, 1e-3, stop_early=False)
    for row in range(6):
        radius = _by_hand(partial(_errs, loss.w, loss.limit[row]), x[row], queries, 1e-3)
        at_most = pytest.approx(radius, abs=1e-6)
        if math.isinf(radius):
            assert float(found.distance[row]) == math.inf
            assert torch.equal(found.x_adv[row], x[row])
        elif float((x[row] + radius).max()) <= 1 and float((x[row] - radius).min()) >= 0:
            assert float(found.distance[row]) == at_most
        else:  # cut by the box, which can only be nearer
            assert float(found.distance[row]) <= radius + 1e-6
            assert float(found.distance[row]) > 0


def test_within_a_ball_only_errors_of_the_ball_are_kept_and_the_first_one_ends_the_work() -> None:
    x, loss = limited_sums(12, (3, 4, 4), seed=11)
    anywhere = _search(loss, x, within=False).run(150, 1e-3, stop_early=False)
    within = _search(loss, x, within=True).run(150, 1e-3, stop_early=False)
    near = within.distance.isfinite()
    assert 0 < int(near.sum()) < 12
    assert bool(Linf("1/10").contains(within.x_adv, x).all())
    assert bool((anywhere.distance[~near] > 0.1 * (1 - 1e-6)).all())
    assert torch.equal(within.x_adv[~near], x[~near])
    loss.queried.clear()
    first = _search(loss, x, within=True).run(150, 1e-3, stop_early=True)
    assert bool((first.distance.isfinite() >= near).all())
    assert loss.queried[-1] == int(first.distance.isinf().sum()) < 12
