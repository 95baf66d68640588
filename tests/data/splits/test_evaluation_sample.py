"""The sample of test images: exactly as many as asked for, stratified, always the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.data import Examples, Splits, load, sample, split
from harden.data.splits.evaluation_sample import evaluated_images
from harden.errors import InputError


def splits_of(labels: list[int], groups: bool = False) -> Splits:
    n = len(labels)
    x = (torch.arange(n).view(n, 1, 1, 1) / n).expand(n, 1, 2, 2).contiguous()
    names = tuple(str(label) for label in range(6))
    numbers = torch.zeros(n, dtype=torch.int64) if groups else None
    test = Examples(x, torch.tensor(labels), names, "s test", numbers)
    return Splits(Examples(x, torch.tensor(labels), names), test, "s")


@given(st.lists(st.integers(0, 5), min_size=2, max_size=70), st.data(), st.booleans())
def test_is_exact_stratified_and_without_repeats(
    labels: list[int], data: st.DataObject, groups: bool
) -> None:
    size = data.draw(st.integers(1, len(labels) - 1))
    splits = splits_of(labels, groups)
    found = evaluated_images(splits, size)
    assert len(found) == size
    assert len(set(found.x[:, 0, 0, 0].tolist())) == size
    assert evaluated_images(splits, size).digest() == found.digest()
    assert f"({size} of {len(labels)} images, sampled)" in found.name
    for label in set(labels):
        wanted = size * labels.count(label) / len(labels)
        # Within one of its share; a class may have one more where it would have none.
        assert abs(int((found.y == label).sum()) - wanted) < 1 + 1e-9


@pytest.mark.parametrize("size", [1, 3, 9, 10, 11, 100, 500, 598])
def test_of_the_digits(size: int) -> None:
    splits = load("digits")
    found = evaluated_images(splits, size)
    assert len(found) == size
    if size >= 10:
        assert len(set(found.y.tolist())) == 10
        # As before samples were exact: what was published on a sample stays true.
        _, before = split(splits.test, size / 599, 0)
        if len(before) == size:
            assert before.digest() == found.digest()


def test_all_of_them_and_what_is_no_number() -> None:
    splits = splits_of([0, 1, 1])
    for size in (0, 3, 7):
        assert evaluated_images(splits, size) is splits.test
    with pytest.raises(InputError, match="--test-images -1"):
        evaluated_images(splits, -1)
    for size in (0, 4):
        with pytest.raises(InputError, match="sample of"):
            sample(splits.test, size, 0)
