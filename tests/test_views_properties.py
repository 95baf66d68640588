"""Views over shapes, options and layouts: pixels stay pixels, and the generator alone decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.errors import InputError
from harden.views import DIGITS, LIGHT, MEDICAL, NATURAL, Views

pytestmark = pytest.mark.usefixtures("rng_untouched")


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.clone()


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels_last": lambda x: x.clone(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "strided": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "offset": lambda x: torch.cat([x.new_zeros(1, *x.shape[1:]), x])[1:],
    "requires_grad": lambda x: x.clone().requires_grad_(),
    "inference": _inference,
}
SHAPES = st.tuples(st.integers(0, 4), st.sampled_from([1, 2, 3, 4]), st.integers(1, 7), st.integers(1, 7))
_SHARE = st.floats(0, 1)


def _range(low: float, high: float) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(lambda ends: (min(ends), max(ends)))


OPTIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "crop": _range(0.05, 1.0),
        "ratio": _range(0.2, 5.0),
        "flip": _SHARE,
        "shift": st.integers(0, 9),
        "rotate": st.floats(0, 180),
        "jitter": _SHARE,
        "brightness": st.floats(0, 3),
        "contrast": st.floats(0, 3),
        "saturation": st.floats(0, 3),
        "hue": st.floats(0, 0.5),
        "grayscale": _SHARE,
        "blur": _range(0.1, 3.0),
        "noise": st.floats(0, 1),
        "erase": _SHARE,
        "erase_area": _range(0.02, 1.0),
    },
)
VIEWS = st.one_of(st.sampled_from([DIGITS, NATURAL, MEDICAL, LIGHT]), OPTIONS.map(lambda made: Views(**made)))


def _picture(shape: tuple[int, ...], seed: int) -> Tensor:
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (1.4 * drawn - 0.2).clamp(0, 1)  # some pixels at both ends of the range


def _draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(VIEWS, SHAPES, st.integers(0, 999))
def test_a_view_has_the_images_shape_type_and_range(
    view: Views, shape: tuple[int, int, int, int], seed: int
) -> None:
    x = _picture(shape, seed)
    before = x.clone()
    y = view(x, _draw(seed))
    assert (y.shape, y.dtype) == (x.shape, torch.float32)
    assert bool(((y >= 0) & (y <= 1)).all())  # False for NaN
    assert torch.equal(x, before)
    assert y.numel() == 0 or y.data_ptr() != x.data_ptr()


@given(VIEWS, SHAPES, st.sampled_from(sorted(LAYOUTS)), st.integers(0, 999))
def test_a_layout_changes_no_bit_of_a_view(
    view: Views, shape: tuple[int, int, int, int], layout: str, seed: int
) -> None:
    x = _picture(shape, seed)
    there = LAYOUTS[layout](x)
    expected = view(x, _draw(seed))
    found = view(there, _draw(seed))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)  # sums run in the order of the memory
    assert torch.equal(there, x)


@given(VIEWS, SHAPES, st.integers(0, 999))
def test_the_generator_alone_decides_and_moves_on_by_the_shape_alone(
    view: Views, shape: tuple[int, int, int, int], seed: int
) -> None:
    x, one, other = _picture(shape, seed), _draw(seed), _draw(seed)
    assert torch.equal(view(x, one), view(x, other))
    assert torch.equal(one.get_state(), other.get_state())
    view(1 - x, third := _draw(seed))
    assert torch.equal(one.get_state(), third.get_state())


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 3, 4, 4, dtype=torch.float16),
        torch.zeros(1, 3, 4, 4, dtype=torch.bfloat16),
        torch.zeros(1, 3, 4, 4, dtype=torch.float64),
        torch.zeros(1, 3, 4, 4, dtype=torch.int64),
        torch.zeros(3, 4, 4),
        torch.zeros(0),
    ],
    ids=lambda x: f"{x.dtype}{tuple(x.shape)}",
)
def test_what_is_no_batch_of_float32_images_is_refused_in_three_parts(x: Tensor) -> None:
    with pytest.raises(InputError) as caught:
        NATURAL(x, _draw(0))
    assert caught.value.expected == "float32 (N, C, H, W)"
    assert caught.value.instead == "write x.float()"
    assert "\n" not in str(caught.value)
