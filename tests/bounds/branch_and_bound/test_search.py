"""A search that is interrupted goes on where it was, and says what it left open."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
import torch

from harden.bounds import Branching, Method, Program, Region, SlopeAscent, certify
from harden.bounds.branch_and_bound.splits import VerificationQueries
from harden.bounds.certification import margin_rows
from harden.bounds.crown.backward import Relaxation
from harden.bounds.crown.intermediate_bounds import relax
from harden.graph import read
from harden.threats import Linf
from tests.bounds.networks import KINDS

HARD, EASIER = Linf("1/5"), Linf("1/10")


@pytest.fixture(params=[0, 8], ids=["signs", "halves"])
def branching(request: pytest.FixtureRequest) -> Branching:
    return Branching(None, 400, axes=int(request.param))


def asked() -> tuple[Relaxation, VerificationQueries]:
    """The margins of six images of which some are hard."""
    graph = read(KINDS["dense"](0).model())
    x = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    program = Program.of(graph)
    found = relax(program, Region.around(x, HARD))
    rows, image = margin_rows(graph.run(x).argmax(1), program.classes, found.region.lower)
    return found, VerificationQueries(image, rows[:, None], rows.new_zeros(len(rows), 1))


def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes a second."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))


def test_a_search_in_slices_ends_as_one_without(
    monkeypatch: pytest.MonkeyPatch, branching: Branching
) -> None:
    found, questions = asked()
    whole = branching(found, questions)
    assert not bool(whole.stopped.any())
    ticking(monkeypatch)
    search, slices = branching.search(found, questions), 0
    while bool(search.answers().stopped.any()):
        before = search.answers().bounds
        search.run(time.monotonic() + 9.0)
        slices += 1
        assert bool((search.answers().bounds >= before).all())
    assert slices >= 2
    # A round that the clock cut short ends with fewer steps, so its bounds may differ; verdicts do not.
    settled = whole.bounds.abs() > 1e-2
    assert bool((search.answers().bounds > 0).eq(whole.bounds > 0)[settled].all())


def test_what_time_left_open_is_said_and_what_a_limit_ended_is_not(branching: Branching) -> None:
    found, questions = asked()
    late = replace(branching, seconds=0.0)(found, questions)
    assert bool(late.stopped.all())
    assert bool((late.bounds == -torch.inf).all())
    limited = replace(branching, parts=3)(found, questions)
    assert not bool(limited.stopped.any())
    assert bool((limited.bounds <= 0).any())


def test_beyond_so_many_open_parts_the_best_go_first(branching: Branching) -> None:
    found, questions = asked()
    wide = replace(branching, parts=4000)(found, questions)
    narrow = replace(branching, parts=8000, kept=20)(found, questions)
    assert bool((narrow.bounds[wide.bounds > 0] > 0).all())
    assert not bool(narrow.stopped.any())


@pytest.mark.parametrize(
    "method", [Method(climb=SlopeAscent(5)), Method(branching=Branching(None, 400))], ids=str
)
def test_an_image_is_stopped_or_was_tried_to_the_end(monkeypatch: pytest.MonkeyPatch, method: Method) -> None:
    graph = read(KINDS["dense"](0).model())
    program, x = Program.of(graph), torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
    y = graph.run(x).argmax(1)
    whole = certify(program, x, y, EASIER, method)
    assert not whole.stopped
    assert 0 < int(whole.certified.sum()) < 8
    one_by_one = replace(method, batch=1)
    ticking(monkeypatch)
    seen = set()
    for ticks in (0, 40, 400, 10**9):
        found = certify(program, x, y, EASIER, one_by_one, until=time.monotonic() + ticks)
        left = {at for at in range(8) if not found.certified[at]}
        assert found.stopped <= left
        seen.add(len(found.stopped))
        for at in left - found.stopped:
            assert not bool(whole.certified[at])
    assert 0 in seen
    assert max(seen) == 8
