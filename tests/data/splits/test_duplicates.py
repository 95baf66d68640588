"""Keys of images: equal exactly where pixels and shape are equal."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.data import Batch
from harden.data.splits.duplicates import image_keys, number_keys


def batch(x: Tensor) -> Batch:
    count = torch.arange(len(x))
    return Batch(x, count, count)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(1, 7))
def test_keys_are_equal_where_images_are(values: list[int], size: int) -> None:
    x = (torch.tensor(values) / 8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    keys = image_keys(batch(x[at : at + size]) for at in range(0, len(x), size))
    assert keys.shape == (len(values), 2)
    assert np.array_equal((keys[:, None] == keys[None]).all(2), np.equal.outer(values, values))


def test_one_bit_of_one_pixel_is_another_image() -> None:
    x = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[0, 2, 3, 4] = torch.nextafter(other[0, 2, 3, 4], torch.tensor(2.0))
    keys = image_keys([batch(x), batch(other), batch(x.clone())])
    assert np.array_equal(keys[0], keys[2])
    assert not np.array_equal(keys[0], keys[1])


def test_negative_zero_equals_zero_and_the_shape_is_part_of_an_image() -> None:
    x = torch.zeros(1, 1, 2, 3)
    same, other = image_keys([batch(x), batch(-x)]), image_keys([batch(x), batch(x.reshape(1, 1, 3, 2))])
    assert np.array_equal(same[0], same[1])
    assert not np.array_equal(other[0], other[1])


def test_equal_keys_have_equal_numbers() -> None:
    keys = np.array([[7, 1], [3, 2], [7, 1], [3, 1]], dtype=np.uint64)
    assert number_keys(keys).tolist() == [2, 1, 2, 0]
    assert len(number_keys(np.empty((0, 2), dtype=np.uint64))) == 0
    assert len(image_keys([])) == 0
