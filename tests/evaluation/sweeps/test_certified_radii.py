"""Proofs in a limit of time, by a clock that each image moves on, and over data that are never held whole."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harden.bounds import Branching, Method, Proofs
from harden.data import Batch, Source
from harden.evaluation import Evaluation, Witnesses
from harden.evaluation.sweeps.certified_radii import EvaluatedImages, RadiusBisection, RadiusSearch
from harden.threats import Linf, Threat

N, BATCH = 60, 8
TRUTH = torch.arange(N) % 9
"""The largest level of eighths of eps at which each image can be proved."""
COST = 10.0
"""Seconds of the proof of one image."""


def evaluation() -> Evaluation:
    """All images are right, and what can't be proved at eps was broken in every other case."""
    labels = torch.zeros(N, dtype=torch.int64)
    nothing = torch.zeros(0, 1, 1, 1)
    none = Witnesses(labels[:0], labels[:0], labels[:0], nothing, nothing)
    broken = (TRUTH < 8) & (torch.arange(N) % 2 == 0)
    by = torch.where(broken, 0, -1)
    return Evaluation(Linf("1/2"), labels, labels, broken, (), (), none, 0.0, 0.0, by, 0 * by)


class OnDemand:
    """A source that makes its batches on demand, and counts those that are alive."""

    batch_size = BATCH

    def __init__(self) -> None:
        self.alive = self.most = self.passes = 0

    def __len__(self) -> int:
        return N

    def epoch(self, generator: torch.Generator | None) -> Iterator[Batch]:
        self.passes += 1
        for begin in range(0, N, BATCH):
            ids = torch.arange(begin, min(begin + BATCH, N))
            x = ids.float().reshape(-1, 1, 1, 1) / N
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(x, self._gone)
            yield Batch(x, torch.zeros_like(ids), ids)

    def _gone(self) -> None:
        self.alive -= 1

    def hold_out(self, fraction: float, seed: int) -> tuple[Source, Source]:
        raise NotImplementedError

    def describe(self) -> str:
        return "on demand"


class Proving:
    """Proves what TRUTH says, at so many seconds an image; what does not fit into the time is stopped."""

    def __init__(self, now: list[float], cost: float = COST) -> None:
        self.now, self.cost, self.sizes = now, cost, list[int]()

    def __call__(
        self, x: Tensor, y: Tensor, threat: Threat, method: Method | None = None, *, until: float = math.inf
    ) -> Proofs:
        level = int(threat.eps * 16)  # of eighths of 1/2
        ids = (x.flatten() * N).round().long()
        margins, stopped = torch.full((len(x),), -1.0, dtype=torch.float64), set[int]()
        self.sizes.append(len(x))
        for row, at in enumerate(ids.tolist()):
            cost = self.cost * (5 if method and method.branching and TRUTH[at] == 8 else 1)
            end = min(until, self.now[0] + cost)
            if self.now[0] + cost > until:
                stopped.add(row)
            elif TRUTH[at] >= level:
                margins[row] = 1.0
            self.now[0] = max(self.now[0], end)
        return Proofs(margins, 0.0, {}, frozenset(stopped))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


def run(
    now: list[float], search: RadiusSearch, cost: float = COST
) -> tuple[RadiusBisection, Proving, OnDemand]:
    source, proving = OnDemand(), Proving(now, cost)
    levels = RadiusBisection(proving, EvaluatedImages(source, evaluation()), search)
    levels.run()
    return levels, proving, source


PLAIN = RadiusSearch(Method(climb=None, batch=5), steps=3)


def test_without_a_limit_every_radius_is_found(now: list[float]) -> None:
    levels, proving, _ = run(now, PLAIN)
    assert levels.low.tolist() == TRUTH.tolist()
    assert levels.left() == (0, 0, 0)
    assert max(proving.sizes) == 5


def test_images_are_never_held_whole(now: list[float]) -> None:
    _, _, source = run(now, PLAIN)
    assert source.most <= 2
    assert source.passes <= 1 + PLAIN.steps


@pytest.mark.parametrize("images", [0.5, 1.5, 7, 30, 100, 10_000])
def test_it_ends_in_time_and_says_what_is_left(now: list[float], images: float) -> None:
    """Time for so many proofs; none is begun later, and one that was begun ends with the clock."""
    whole, _, _ = run(now, PLAIN)
    now[0] = 0.0
    levels, _, _ = run(now, replace(PLAIN, minutes=images * COST / 60))
    assert now[0] <= images * COST
    assert bool((levels.low <= whole.low).all())
    untried, stopped, unsettled = levels.left()
    found = evaluation()
    assert untried + stopped <= unsettled
    assert (unsettled == 0) == bool((levels.low == whole.low).all())
    if images < 1:
        assert untried + stopped == int(found.robust_correct.sum())
    if images > 1000:
        assert unsettled == 0


def test_parts_grow_with_what_was_measured(now: list[float]) -> None:
    _, proving, _ = run(now, replace(PLAIN, minutes=10_000.0))
    assert (proving.sizes[:2], max(proving.sizes)) == ([1, 2], 5)
    _, proving, _ = run(now, replace(PLAIN, minutes=20 * COST / 60))
    assert max(proving.sizes) <= 2


def test_what_a_share_did_not_suffice_for_is_tried_again(now: list[float]) -> None:
    """Images that need five times their share are proved in the time that the others leave."""
    search = RadiusSearch(Method(climb=None, branching=Branching(None, 10), batch=5), steps=0, minutes=1.0)
    wanted = int(evaluation().robust_correct.sum())
    minutes = wanted * COST * 2 / 60
    levels, _, _ = run(now, replace(search, minutes=minutes))
    assert bool((levels.low[TRUTH == 8] == 1).all())
    assert now[0] <= 60 * minutes
