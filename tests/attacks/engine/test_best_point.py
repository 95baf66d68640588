"""The best point of each example against an order written by hand: errors first, then the larger loss."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.attacks.engine.best_point import Point

N = 6
ranks = st.lists(st.tuples(st.booleans(), st.sampled_from([-1.0, 0.0, 2.0])), min_size=N, max_size=N)


def point(ranked: list[tuple[bool, float]], pixel: float) -> Point:
    """Images of one grey, with these verdicts and losses."""
    wrong, value = zip(*ranked, strict=True)
    return Point(torch.full((len(ranked), 1, 2, 2), pixel), torch.tensor(value), torch.tensor(wrong))


def ranked(found: Point) -> list[tuple[bool, float]]:
    return list(zip(found.wrong.tolist(), found.value.tolist(), strict=True))


@given(ranks, ranks, st.lists(st.booleans(), min_size=N, max_size=N))
def test_the_larger_pair_of_verdict_and_loss_is_kept(
    one: list[tuple[bool, float]], other: list[tuple[bool, float]], among: list[bool]
) -> None:
    """False < True: the order of the pairs is that of the docstring; a tie changes nothing."""
    best = point(one, 0.0)
    changed = best.take_over_(point(other, 1.0), among=torch.tensor(among))
    expected = [may and new > old for old, new, may in zip(one, other, among, strict=True)]
    assert changed.tolist() == expected
    assert ranked(best) == [new if swap else old for old, new, swap in zip(one, other, expected, strict=True)]
    assert best.x.amax((1, 2, 3)).tolist() == best.x.amin((1, 2, 3)).tolist() == [float(e) for e in expected]


@given(ranks, ranks, st.permutations(range(N)), st.integers(0, N))
def test_a_point_of_some_examples_changes_these_alone(
    one: list[tuple[bool, float]], other: list[tuple[bool, float]], order: list[int], count: int
) -> None:
    rows = order[:count]
    best, whole = point(one, 0.0), point(one, 0.0)
    changed = best.take_over_(
        point(other, 1.0).rows(torch.tensor(rows, dtype=torch.int64)), torch.tensor(rows, dtype=torch.int64)
    )
    chosen = torch.tensor([row in rows for row in range(N)])
    expected = whole.take_over_(point(other, 1.0), among=chosen)
    assert changed.tolist() == [expected.tolist()[row] for row in rows]
    assert ranked(best) == ranked(whole)
    assert torch.equal(best.x, whole.x)


def test_any_point_beats_none_and_its_images_are_its_own() -> None:
    x = torch.rand(2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    best = Point.none(x)
    assert best.x.data_ptr() != x.data_ptr()
    assert ranked(best) == [(False, -math.inf)] * 2
    assert best.take_over_(point([(False, -1e30), (True, -1e30)], 1.0)).tolist() == [True, True]


def test_rows_are_read_and_overwritten_by_position() -> None:
    best = point([(False, 0.0), (False, 1.0), (True, 2.0)], 0.0)
    best.set_rows_(torch.tensor([2, 0]), point([(True, 5.0), (False, 7.0)], 1.0))
    assert ranked(best) == [(False, 7.0), (False, 1.0), (True, 5.0)]
    assert ranked(best.rows(torch.tensor([2, 1]))) == [(True, 5.0), (False, 1.0)]
    assert best.x[:, 0, 0, 0].tolist() == [1.0, 0.0, 1.0]
