from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harden.data import Examples, Splits, split
from harden.data.splits.split import split_indices
from harden.errors import InputError


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=3, max_size=80).filter(lambda y: max(map(y.count, y)) >= 2),
    st.floats(0.02, 0.98),
    st.integers(0, 2**31),
)
def test_parts_are_disjoint_complete_and_stratified(labels: list[int], fraction: float, seed: int) -> None:
    y = torch.tensor(labels)
    rest, held = split_indices(y, fraction, seed)
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(len(y)))
    assert torch.equal(rest, rest.sort().values)
    for label in set(labels):
        n, out = labels.count(label), int((y[held] == label).sum())
        if n == 1:
            assert out == 0
        else:
            assert 1 <= out <= n - 1
            assert abs(out - fraction * n) <= 1
    if all(labels.count(label) * min(fraction, 1 - fraction) >= 1 for label in labels):
        assert abs(len(held) - fraction * len(labels)) <= 0.5 + 1e-9


def test_depends_on_the_seed_alone(coloured: Examples) -> None:
    outside = torch.get_rng_state()
    first, again, other = (split(coloured, 0.3, seed)[1] for seed in (1, 1, 2))
    assert first.digest() == again.digest() != other.digest()
    assert torch.equal(torch.get_rng_state(), outside)


def test_a_known_choice_stays_as_it_is() -> None:
    # A change here would change which images every user's certificate speaks about.
    _, held = split_indices(torch.arange(20) % 2, 0.25, seed=0)
    assert held.tolist() == [2, 3, 8, 11, 18]


def test_each_member_is_held_out_equally_often() -> None:
    y = torch.zeros(10, dtype=torch.int64)
    counts = torch.zeros(10)
    for seed in range(2000):
        counts[split_indices(y, 0.3, seed)[1]] += 1
    assert (counts - 600).abs().max() < 5 * (2000 * 0.3 * 0.7) ** 0.5


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 0.6))
def test_no_group_crosses_and_every_class_is_in_both_parts(seed: int, fraction: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 12, (30,), generator=generator)
    groups = torch.arange(30).repeat_interleave(sizes)
    y = (torch.arange(30) % 3).repeat_interleave(sizes)
    order = torch.randperm(len(y), generator=generator)
    y, groups = y[order], groups[order]
    rest, held = split_indices(y, fraction, seed, groups)
    assert not set(groups[rest].tolist()) & set(groups[held].tolist())
    assert set(y[rest].tolist()) == set(y[held].tolist()) == {0, 1, 2}
    assert len(held) / len(y) == pytest.approx(fraction, abs=0.15)


def test_large_groups_are_held_out_as_near_to_the_share_as_they_allow(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Two groups of 50 a class, a tenth wanted: one group for each class would be half of all.
    y = torch.arange(4).repeat_interleave(100)
    groups = torch.arange(8).repeat_interleave(50)
    rest, held = split_indices(y, 0.1, 0, groups)
    assert len(held) == 50
    assert set(y[rest].tolist()) == {0, 1, 2, 3}
    assert "3 of the 4 classes have no example among the 50 held out" in caplog.text


def test_groups_with_several_classes_stay_whole() -> None:
    y, groups = torch.arange(60) % 2, torch.arange(60) // 6
    rest, held = split_indices(y, 0.2, 3, groups)
    assert not set(groups[rest].tolist()) & set(groups[held].tolist())
    assert torch.bincount(y[held]).tolist() == [6, 6]


@pytest.mark.parametrize(
    ("fraction", "groups", "says"),
    [
        (0.0, None, "fraction of 0"),
        (1.0, None, "fraction of 1"),
        (float("nan"), None, "fraction of nan"),
        (0.5, torch.zeros(3), "groups of shape"),
        (0.5, torch.zeros(40), "different groups"),
    ],
)
def test_refuses(coloured: Examples, fraction: float, groups: torch.Tensor | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        split(coloured, fraction, 0, groups)


def test_refuses_a_set_of_single_examples(coloured: Examples) -> None:
    with pytest.raises(InputError, match="at least two examples"):
        split(coloured.take(torch.stack([(coloured.y == k).nonzero()[0, 0] for k in range(3)])), 0.5, 0)


def test_parts_of_splits_have_to_fit(coloured: Examples) -> None:
    Splits(coloured, coloured, "s")
    with pytest.raises(InputError, match="one size"):
        Splits(coloured, Examples(coloured.x[:, :, :4], coloured.y, coloured.classes), "s")
    with pytest.raises(InputError, match="same classes"):
        Splits(coloured, replace(coloured, classes=("a", "c", "b")), "s")
