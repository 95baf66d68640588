"""Whole groups, as near to the share as any sum of them, then by class."""

from __future__ import annotations

import itertools
import logging
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harden.data.splits.group_shares import TOLERANCE, groups_held_out
from harden.data.splits.split import split_indices
from harden.errors import InputError

Groups = list[tuple[int, int]]  # of each group: its size, its class


def laid_out(groups: Groups) -> tuple[torch.Tensor, torch.Tensor]:
    sizes = torch.tensor([size for size, _ in groups])
    y = torch.tensor([label for _, label in groups]).repeat_interleave(sizes)
    return y, torch.arange(len(groups)).repeat_interleave(sizes)


def smallest_gap(groups: Groups, wanted: int) -> int | None:
    """By trying every choice that leaves each class something."""
    gaps = []
    for chosen in itertools.product((False, True), repeat=len(groups)):
        left = {label for keep, (_, label) in zip(chosen, groups, strict=True) if not keep}
        if any(chosen) and left == {label for _, label in groups}:
            gaps.append(abs(sum(size for out, (size, _) in zip(chosen, groups, strict=True) if out) - wanted))
    return min(gaps, default=None)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 2)), min_size=2, max_size=9),
    st.floats(0.05, 0.5),
    st.integers(0, 1000),
)
def test_no_choice_of_whole_groups_is_nearer(groups: Groups, fraction: float, seed: int) -> None:
    y, group = laid_out(groups)
    wanted = max(round(fraction * len(y)), 1)
    mask = groups_held_out(y.numpy(), group.numpy(), fraction, wanted, seed)
    best = smallest_gap(groups, wanted)
    if best is None:
        assert not mask.any()
        return
    assert not set(group[mask].tolist()) & set(group[~mask].tolist())
    assert set(y[~mask].tolist()) == set(y.tolist())
    assert abs(int(mask.sum()) - wanted) <= max(best, TOLERANCE * wanted)


def test_a_tenth_is_a_tenth_where_every_class_has_two_tracks() -> None:
    # 43 classes of two tracks each: one track for each class would be half of all images.
    y, group = laid_out([(30, label) for label in range(43) for _ in range(2)])
    _, held = split_indices(y, 0.1, 0, group)
    assert len(held) / len(y) == pytest.approx(0.1, abs=0.012)
    assert len(set(y[held].tolist())) == len(held) // 30  # a class has one track there, not two


def test_classes_are_covered_where_the_share_allows_it() -> None:
    random = np.random.default_rng(0)
    y, group = laid_out([(int(size), k % 5) for k, size in enumerate(random.integers(3, 30, 120))])
    rest, held = split_indices(y, 0.1, 1, group)
    assert set(y[held].tolist()) == set(y[rest].tolist()) == set(range(5))
    assert len(held) / len(y) == pytest.approx(0.1, rel=TOLERANCE)


def test_the_choice_depends_on_the_seed_alone() -> None:
    y, group = laid_out([(7 + k % 5, k % 3) for k in range(20)])
    assert split_indices(y, 0.2, 3, group)[1].tolist() == split_indices(y, 0.2, 3, group)[1].tolist()
    chosen = {tuple(split_indices(y, 0.2, seed, group)[1].tolist()) for seed in range(8)}
    assert len(chosen) > 3


def test_a_share_that_is_far_off_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    y, group = laid_out([(50, 0), (50, 0), (50, 1), (50, 1)])
    with caplog.at_level(logging.WARNING, "harden"):
        split_indices(y, 0.1, 0, group)
    assert "50 of 200 examples held out (25 %) where 20 (10 %) were wanted" in caplog.text
    caplog.clear()
    split_indices(y, 0.25, 0, group)
    assert "were wanted" not in caplog.text


def test_one_group_or_one_for_each_class_cannot_be_parted() -> None:
    for groups in ([(10, 0)], [(10, 0), (10, 1)]):
        y, group = laid_out(groups)
        with pytest.raises(InputError, match="in different groups"):
            split_indices(y, 0.1, 0, group)


def test_many_groups_of_many_classes_take_little_memory() -> None:
    # A table of all groups by all classes would have 2e8 entries.
    y = torch.arange(40_000) % 10_000
    group = torch.arange(40_000) // 2 * 3
    tracemalloc.start()
    _, held = split_indices(y, 0.25, 0, group)
    assert tracemalloc.get_traced_memory()[1] < 1e8
    tracemalloc.stop()
    assert 0.2 < len(held) / len(y) < 0.3
