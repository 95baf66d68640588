"""Copies: found between two sets whatever their type, and never parted by a split."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from harden.data import Examples, Leak, from_loader, leaks, split, unlabelled, without
from harden.data.examples import to_unit
from harden.data.sources.in_memory import ExamplesSource
from harden.data.splits.split import split_indices
from harden.errors import InputError


def images(n: int, seed: int) -> Tensor:
    """Different images (n, 1, 3, 3), uint8, for different seeds too."""
    x = torch.randint(256, (n, 1, 3, 3), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1], x[:, 0, 0, 2] = seed, torch.arange(n) // 256, torch.arange(n) % 256
    return x


def examples(x: Tensor, y: Tensor | None = None) -> Examples:
    return Examples(x, torch.arange(len(x)) % 3 if y is None else y, tuple("abc"))


def as_stored(x: Tensor, kind: str) -> Tensor:
    if kind == "uint16":
        return (x.to(torch.int32) * 257).to(torch.uint16)
    return to_unit(x) if kind == "float32" else x


@given(
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 19)), max_size=12),
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_every_planted_copy_is_found_and_nothing_else(
    planted: list[tuple[int, int]], one: str, other: str
) -> None:
    x_train, x_test = images(30, 1), images(20, 2)
    for a, b in planted:
        x_test[b] = x_train[a]
    equal = (to_unit(x_train)[:, None] == to_unit(x_test)[None]).flatten(2).all(2)
    train, test = examples(as_stored(x_train, one)), examples(as_stored(x_test, other))
    found = leaks(train, test)
    assert found.train.tolist() == equal.any(1).nonzero().flatten().tolist()
    assert found.test.tolist() == equal.any(0).nonzero().flatten().tolist()
    assert all(bool(equal[leak.train, leak.test]) for leak in found.pairs)
    assert all(leak.same_label == (leak.train % 3 == leak.test % 3) for leak in found.pairs)
    assert len(found) <= len(found.train) + len(found.test)
    clean = without(train, found.train)
    assert len(leaks(clean, test)) == 0
    assert len(clean) == 30 - len(found.train)


def test_pairs_are_listed_by_position_with_what_their_labels_say() -> None:
    x = images(6, 1)
    train = examples(x[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 2]))
    test = examples(torch.cat((images(1, 2), x[[0, 0, 2]])), torch.tensor([0, 0, 1, 1]))
    found = leaks(train, test)
    assert found.pairs == (Leak(0, 1, True), Leak(2, 3, False), Leak(3, 1, False), Leak(0, 2, False))
    assert found.describe() == (
        "3 of 4 test images are training images too (3 of 4), 3 of 4 pairs under another label"
    )
    assert leaks(train, unlabelled(test)).pairs[0].same_label is None
    none = leaks(examples(x[:2]), examples(x[2:]))
    assert none.describe() == "none of 4 test images is among 2 training images"


def test_copies_in_great_number_stay_linear() -> None:
    black = torch.zeros(300, 1, 3, 3, dtype=torch.uint8)
    found = leaks(examples(black), examples(black))
    assert (len(found.train), len(found.test)) == (300, 300)
    assert len(found) < 600


def test_sources_and_loaders_are_compared_too() -> None:
    x, y = to_unit(images(20, 1)), torch.arange(20) % 3
    train = from_loader(DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True))
    test = DataLoader(TensorDataset(x[[3, 11]], y[[3, 11]]), batch_size=2)
    found = leaks(train, test)
    assert found.train.tolist() == [3, 11]
    assert len(without(from_loader((x, y)), found.train)) == 18  # type: ignore[type-var]


def test_negative_zero_is_zero_and_shape_is_part_of_an_image() -> None:
    x = torch.zeros(1, 1, 2, 3)
    assert len(leaks(examples(x), examples(-x))) == 1
    assert len(leaks(examples(x), examples(x.reshape(1, 1, 3, 2)))) == 0


def test_dropping_everything_is_refused() -> None:
    same = examples(images(5, 1))
    with pytest.raises(InputError, match=r"all 5 images to be dropped.*same set was given twice"):
        without(same, leaks(same, same).train)


@given(st.lists(st.integers(0, 25), min_size=12, max_size=60), st.integers(0, 99), st.booleans())
def test_no_split_parts_copies_or_groups(which: list[int], seed: int, grouped: bool) -> None:
    x = images(26, 1)[which]
    groups = torch.arange(len(which)) // 2 if grouped else None
    whole = Examples(x, torch.zeros(len(which), dtype=torch.int64), ("a",), groups=groups)
    try:
        rest, held = split(whole, 0.3, seed)
    except InputError:
        return  # one group in all, joined through copies
    assert len(leaks(rest, held)) == 0
    assert len(rest) + len(held) == len(which)
    if grouped:
        assert rest.groups is not None
        assert held.groups is not None
        assert not set(rest.groups.tolist()) & set(held.groups.tolist())


def test_where_there_are_no_copies_a_split_is_what_it_always_was() -> None:
    whole = examples(images(50, 1))
    rest, held = split(whole, 0.2, 5)
    expected = split_indices(whole.y, 0.2, 5)
    assert torch.equal(rest.x, whole.x[expected[0]])
    assert torch.equal(held.x, whole.x[expected[1]])


def test_copies_hold_the_share_that_was_asked_for() -> None:
    whole = examples(images(50, 1).repeat(2, 1, 1, 1), (torch.arange(100) % 50) % 3)
    source = ExamplesSource(whole, 10)
    rest, held = source.hold_out(0.2, 0)
    assert len(leaks(rest, held)) == 0
    assert abs(len(held) - 20) <= 3
