"""Threats over shapes, types, boxes and layouts: the bits of the contiguous copy, x never written."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.draws import Draws
from harden.errors import InputError
from harden.threats import L1, L2, Linf

pytestmark = pytest.mark.usefixtures("rng_untouched")

Ball = Linf | L2 | L1
Kind = type[Linf] | type[L2] | type[L1]


def _in_a_larger_one(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    larger = torch.full((n, 2 * c, 2 * h, 3 * w), math.nan)
    larger[:, ::2, 1::2, ::3] = x
    return larger[:, ::2, 1::2, ::3]


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.clone()


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": torch.clone,
    "channels_last": lambda x: x.clone(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "batch last": lambda x: x.movedim(0, 3).contiguous().movedim(3, 0),
    "strided": _in_a_larger_one,
    "offset": lambda x: torch.cat([x.new_zeros(1, *x.shape[1:]), x])[1:],
}
READ_ONLY = LAYOUTS | {"requires_grad": lambda x: x.clone().requires_grad_(), "inference": _inference}
KINDS = pytest.mark.parametrize("kind", [Linf, L2, L1])
SHAPES = st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 3, 5]), st.integers(1, 4), st.integers(1, 4))
BOXES = st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.1, 1.3), (0.0, 255.0), (-2.5, -0.5)])


def _random(shape: tuple[int, ...], seed: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    # Rounding may carry a pixel over the edge of a box that float32 does not hold.
    return (low + (high - low) * (0.01 + 0.98 * drawn)).to(torch.float32)


def _bits(x: Tensor) -> bytes:
    content: bytes = x.detach().contiguous().numpy().tobytes()
    return content


def _inside(threat: Ball, x_adv: Tensor, x: Tensor) -> list[bool]:
    """The definition of the set, in rational numbers."""
    low, high = (Fraction(bound) for bound in threat.bounds)
    verdicts = []
    for one, clean in zip(x_adv.flatten(1).tolist(), x.detach().flatten(1).tolist(), strict=True):
        deltas = [Fraction(a) - Fraction(b) for a, b in zip(one, clean, strict=True)]
        if isinstance(threat, L2):
            size, limit = sum(delta**2 for delta in deltas), threat.eps**2
        else:
            size, limit = (max if isinstance(threat, Linf) else sum)(map(abs, deltas)), threat.eps
        verdicts.append(size <= limit and all(low <= Fraction(value) <= high for value in one))
    return verdicts


@KINDS
@given(
    shape=SHAPES,
    box=BOXES,
    share=st.sampled_from(["0", "1/1000", "8/255", "1/3", "1"]),
    seed=st.integers(0, 999),
    written=st.sampled_from(sorted(LAYOUTS)),
    read=st.sampled_from(sorted(READ_ONLY)),
    grads=st.sampled_from(sorted(READ_ONLY)),
    grad_type=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
)
def test_layouts_change_no_bit_and_results_stay_in_ball_and_box(
    kind: Kind,
    shape: tuple[int, ...],
    box: tuple[float, float],
    share: str,
    seed: int,
    written: str,
    read: str,
    grads: str,
    grad_type: torch.dtype,
) -> None:
    threat = kind(Fraction(share) * (Fraction(box[1]) - Fraction(box[0])), box)
    x, grad = _random(shape, seed, *box), (_random(shape, seed + 1) - 0.5).to(grad_type).to(torch.float32)
    x_there = READ_ONLY[read](x)
    grad_there = READ_ONLY[grads](grad).to(grad_type)
    step = torch.tensor([0.3 * float(threat.eps)])
    here, there = _random(shape, seed + 2, *box), LAYOUTS[written](_random(shape, seed + 2, *box))
    for _ in range(2):
        threat.step_(here, x, grad.to(grad_type), step)
        threat.step_(there, x_there, grad_there, step)
    assert _bits(here) == _bits(there)
    assert (_bits(x_there), _bits(grad_there.to(torch.float32))) == (_bits(x), _bits(grad))
    assert all(_inside(threat, here, x))
    assert threat.contains(there, x_there).tolist() == [True] * shape[0]
    threat.project_(there, x_there)
    assert _bits(here) == _bits(there)


@KINDS
@given(shape=SHAPES, box=BOXES, seed=st.integers(0, 999), read=st.sampled_from(sorted(READ_ONLY)))
def test_starts_have_the_same_bits_in_every_layout(
    kind: Kind, shape: tuple[int, ...], box: tuple[float, float], seed: int, read: str
) -> None:
    threat = kind("1/5", box)
    x, draws = _random(shape, seed, *box), Draws(seed, torch.arange(shape[0]) + seed)
    x_there = READ_ONLY[read](x)
    start = threat.start(x_there, draws)
    assert _bits(start) == _bits(threat.start(x, draws))
    assert _bits(x_there) == _bits(x)
    assert start.dtype == torch.float32
    assert all(_inside(threat, start.detach(), x))
    assert threat.size(start - x_there).shape == (shape[0],)


@KINDS
@given(shape=SHAPES, seed=st.integers(0, 99), name=st.sampled_from(sorted(LAYOUTS)))
def test_projection_is_idempotent_in_every_layout(
    kind: Kind, shape: tuple[int, ...], seed: int, name: str
) -> None:
    threat, x = kind("1/7"), _random(shape, seed)
    once = LAYOUTS[name](_random(shape, seed + 1, -3.0, 4.0))
    threat.project_(once, x)
    before = _bits(once)
    threat.project_(once, LAYOUTS[name](x))
    assert _bits(once) == before


@KINDS
@given(n=st.integers(1, 4), seed=st.integers(0, 99))
def test_one_image_seen_n_times_is_read_as_n_images(kind: Kind, n: int, seed: int) -> None:
    threat = kind("1/7")
    x = _random((1, 3, 2, 2), seed).expand(n, -1, -1, -1)
    grad = _random((1, 3, 1, 1), seed + 1).expand(n, 3, 2, 2)
    there, here = x.clone(), x.clone()
    threat.step_(there, x, grad, torch.tensor([0.1]))
    threat.step_(here, x.clone(), grad.clone(), torch.tensor([0.1]))
    assert _bits(there) == _bits(here)
    assert bool(threat.contains(there, x).all())


@KINDS
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_inference_tensors_are_written_inside_inference_mode(kind: Kind, name: str) -> None:
    x = _random((2, 3, 4, 4), 0)
    expected = _random((2, 3, 4, 4), 1)
    kind("1/9").project_(expected, x)
    with torch.inference_mode():
        x_adv = LAYOUTS[name](_random((2, 3, 4, 4), 1))
        kind("1/9").project_(x_adv, x)
        assert _bits(x_adv) == _bits(expected)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_images_of_another_type_are_refused_in_three_parts(kind: Kind, dtype: torch.dtype) -> None:
    x = _random((2, 3, 4, 4), 0)
    for images, clean in ((x.to(dtype), x), (x.clone(), x.to(dtype))):
        before = images.clone()
        with pytest.raises(InputError) as caught:
            kind("1/9").project_(images, clean)
        assert caught.value.expected == "float32 for both, whatever the model's type"
        assert "\n" not in str(caught.value)
        assert torch.equal(images, before)
