"""Dynamic sizes of an input are those of the images, in the first order that fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harden.artefact.runtime.resolve_input_shape import filled

sizes = st.integers(1, 6)


@given(st.tuples(sizes, sizes, sizes), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_channels_come_first_where_both_orders_fit(
    image: tuple[int, int, int], open_sizes: tuple[bool, bool, bool]
) -> None:
    given_size = [None if is_open else own for own, is_open in zip(image, open_sizes, strict=True)]
    assert filled(given_size, image) == image


@pytest.mark.parametrize(
    ("size", "image", "shape"),
    [
        ((None, None, 3), (3, 4, 5), (4, 5, 3)),
        ((None, None, 3), (3, 4, 3), (3, 4, 3)),
        ((4, None, None), (3, 4, 5), (4, 5, 3)),
        ((None,), (1, 4, 5), (20,)),
        ((20,), (1, 4, 5), (20,)),
        ((None,), (3, 4, 5), None),
        ((None, None), (1, 4, 5), None),
        ((None, 3), (2, 3), (2, 3)),
        ((None, 3), (3, 2), None),
        ((), (), ()),
        ((None,), (7,), (7,)),
    ],
)
def test_the_order_that_fits(
    size: tuple[int | None, ...], image: tuple[int, ...], shape: tuple[int, ...] | None
) -> None:
    assert filled(size, image) == shape


@given(st.lists(st.none() | sizes, max_size=4), st.lists(sizes, min_size=3, max_size=3))
def test_what_is_resolved_keeps_fixed_sizes_and_every_pixel(size: list[int | None], image: list[int]) -> None:
    found = filled(size, tuple(image))
    if found is not None:
        assert all(own in (None, got) for own, got in zip(size, found, strict=True))
        product = 1
        for each in found:
            product *= each
        assert product == image[0] * image[1] * image[2]
