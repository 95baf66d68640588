from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms.v2 import functional as oracle

from harden import views
from harden.errors import InputError
from harden.views import DIGITS, LIGHT, MEDICAL, NATURAL, Views

PRESETS = {"digits": DIGITS, "natural": NATURAL, "medical": MEDICAL, "light": LIGHT}
EVERYTHING = replace(NATURAL, shift=2, rotate=20.0, blur=(0.1, 1.5), noise=0.1, erase=0.5)
ONE_OF_EACH: list[dict[str, Any]] = [
    {"crop": (0.3, 0.9)},
    {"flip": 0.5},
    {"shift": 3},
    {"rotate": 30.0},
    {"brightness": 0.5},
    {"contrast": 0.5},
    {"saturation": 0.5},
    {"hue": 0.3},
    {"grayscale": 0.5},
    {"blur": (0.3, 1.0)},
    {"noise": 0.1},
    {"erase": 0.5},
]


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(n: int = 1, channels: int = 3, size: tuple[int, int] = (16, 12), seed: int = 5) -> Tensor:
    return torch.rand(n, channels, *size, generator=draw(seed))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("view", [*PRESETS.values(), EVERYTHING], ids=[*PRESETS, "everything"])
def test_keeps_shape_type_and_range(view: Views, channels: int) -> None:
    x = picture(9, channels)
    before = x.clone()
    y = view(x, draw())
    assert y.shape == x.shape
    assert y.dtype == torch.float32
    assert y.is_contiguous()
    assert y.min() >= 0
    assert y.max() <= 1
    assert not torch.equal(y, x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("view", [*PRESETS.values(), EVERYTHING], ids=[*PRESETS, "everything"])
def test_same_generator_state_same_bytes_and_the_global_state_is_not_touched(view: Views) -> None:
    x, outside = picture(9), torch.get_rng_state()
    first, again, other = view(x, draw(1)), view(x, draw(1)), view(x, draw(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), outside)


def test_nothing_is_switched_on_by_default() -> None:
    x = picture(3)
    y = Views()(x, draw())
    assert torch.equal(y, x)
    assert y.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("options", ONE_OF_EACH, ids=lambda options: next(iter(options)))
def test_each_image_has_draws_of_its_own(options: dict[str, Any]) -> None:
    # torchvision's v2 transforms give all images of a batch the same draw.
    same = picture().expand(64, -1, -1, -1)
    y = Views(**options)(same, draw())
    assert len(torch.unique(y.flatten(1), dim=0)) >= 2
    if next(iter(options)) not in ("flip", "grayscale", "shift"):
        assert len(torch.unique(y.flatten(1), dim=0)) > 20


@pytest.mark.parametrize("options", ONE_OF_EACH, ids=lambda options: next(iter(options)))
def test_switching_one_option_on_leaves_the_draws_of_others(options: dict[str, Any]) -> None:
    x, generator, bare = picture(4), draw(), draw()
    Views(**options)(x, generator)
    Views(**(options | {"flip": 0.5}))(x, bare)
    assert torch.equal(generator.get_state(), bare.get_state())


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 1.0])
def test_flips_as_often_as_it_says(probability: float) -> None:
    x, n = picture().expand(4000, -1, -1, -1), 4000
    y = Views(flip=probability)(x, draw())
    flipped = int((y == x.flip(3)).flatten(1).all(1).sum())
    assert flipped + int((y == x).flatten(1).all(1).sum()) == n
    assert stats.binomtest(flipped, n, probability).pvalue > 1e-4


def test_shifts_are_exact_uniform_and_fill_with_zeros() -> None:
    x = torch.zeros(4000, 1, 9, 9)
    x[:, :, 4, 4] = 0.7
    y = Views(shift=2)(x, draw())
    assert torch.equal(y.flatten(1).max(1).values, torch.full((4000,), 0.7))
    place = y.flatten(1).argmax(1)
    row, column = place // 9 - 4, place % 9 - 4
    cells = torch.bincount((row + 2) * 5 + column + 2, minlength=25)
    assert len(cells) == 25
    assert stats.chisquare(cells.numpy()).pvalue > 1e-4
    assert Views(shift=2)(torch.ones(50, 1, 5, 5), draw()).min() == 0


def test_mirrors_then_moves() -> None:
    x, right, down = picture(4), torch.tensor([2, -3, 0, 1]), torch.tensor([0, 1, -2, 15])
    got = views._moved(x, torch.tensor([True, True, False, True]), right, down)
    for image, result, mirror, dx, dy in zip(
        x, got, (1, 1, 0, 1), right.tolist(), down.tolist(), strict=True
    ):
        expected = torch.zeros_like(image)
        for row in range(16):
            for column in range(12):
                if 0 <= row - dy < 16 and 0 <= column - dx < 12:
                    expected[:, row, column] = (image.flip(2) if mirror else image)[:, row - dy, column - dx]
        assert torch.equal(result, expected)


@pytest.mark.parametrize("size", [(16, 16), (10, 30)])
def test_the_share_of_a_crop_is_uniform_and_the_window_lies_inside(size: tuple[int, int]) -> None:
    u = torch.rand(4, 20_000, generator=draw())
    left, top, wide, high = views._window(size, (0.2, 0.9), (0.5, 2.0), (u[0], u[1], u[2], u[3]))
    share = wide * high / (size[0] * size[1])
    assert stats.kstest(share.numpy(), stats.uniform(0.2, 0.7).cdf).pvalue > 1e-4
    assert min(left.min(), top.min()) >= 0
    assert (left + wide).max() <= size[1] + 1e-4
    assert (top + high).max() <= size[0] + 1e-4
    ratio = (wide / size[1]) / (high / size[0])
    assert ratio.min() >= 0.5 - 1e-4
    assert ratio.max() <= 2 + 1e-4
    # Where every aspect fits, it is log-uniform.
    free = ratio[share < 0.5].log2()
    assert stats.kstest(free.numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4


def test_a_crop_shows_a_window_of_the_image_at_its_size() -> None:
    # On a ramp, a window's values tell where it lies: slope the width, middle the centre.
    ramp = torch.linspace(0.5 / 32, 1 - 0.5 / 32, 32).expand(500, 1, 32, 32)
    y = Views(crop=(0.25, 0.25), ratio=(1.0, 1.0))(ramp, draw())
    slope = (y[:, 0, 0, 20] - y[:, 0, 0, 11]) / 9 * 32
    assert torch.allclose(slope, torch.tensor(0.5), atol=1e-3)
    middle = (y[:, 0, 0, 15] + y[:, 0, 0, 16]) / 2
    assert stats.kstest(middle.numpy(), stats.uniform(0.25, 0.5).cdf).pvalue > 1e-4
    assert y.std(dim=2).max() < 1e-5
    # The rim must not be mixed with zeros outside.
    assert Views(crop=(0.1, 1.0))(torch.ones(50, 1, 8, 8), draw()).min() > 0.999


def test_turns_in_pixels_about_the_centre() -> None:
    x = torch.zeros(300, 1, 21, 41)
    x[:, :, 10, 28:31] = 1  # 9 to the right of the centre, on an image wider than high
    x[:, :, 9:12, 29] = 1
    y = Views(rotate=45.0)(x, draw())
    weight = y[:, 0] / y[:, 0].sum((1, 2), keepdim=True)
    down = (weight.sum(2) * (torch.arange(21) - 10)).sum(1)
    right = (weight.sum(1) * (torch.arange(41) - 20)).sum(1)
    assert torch.allclose(torch.hypot(down, right), torch.tensor(9.0), atol=0.1)
    degrees = torch.atan2(down, right).rad2deg()
    assert stats.kstest(degrees.numpy(), stats.uniform(-45, 90).cdf).pvalue > 1e-4


FACTORS = [0.0, 0.3, 1.0, 1.7]


@pytest.mark.parametrize("factor", FACTORS)
def test_colours_as_torchvision_does(factor: float) -> None:
    x, per_image = picture(3), torch.full((3,), factor)
    grey = views._grey(x)
    assert torch.allclose(grey, oracle.rgb_to_grayscale(x, 3), atol=1e-6)
    assert torch.allclose(
        views._blend(x, torch.zeros_like(x), per_image), oracle.adjust_brightness(x, factor), atol=1e-6
    )
    mean = grey.mean((1, 2, 3), keepdim=True)
    assert torch.allclose(views._blend(x, mean, per_image), oracle.adjust_contrast(x, factor), atol=1e-6)
    assert torch.allclose(views._blend(x, grey, per_image), oracle.adjust_saturation(x, factor), atol=1e-6)


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.0, 0.1, 0.37, 0.5])
def test_hue_as_torchvision_does(turn: float) -> None:
    special = torch.tensor(
        [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]
    )
    x = torch.cat([picture(4, size=(7, 1)), special.T[None, :, :, None].float()])
    got = views._hue_turned(x, torch.full((5,), turn))
    assert torch.allclose(got, oracle.adjust_hue(x, turn), atol=1e-5)


@pytest.mark.parametrize("sigma", [0.4, 1.3])
def test_blur_as_torchvision_does(sigma: float) -> None:
    x = picture(3)
    radius = math.ceil(3 * sigma)
    expected = oracle.gaussian_blur(x, [2 * radius + 1] * 2, [sigma] * 2)
    assert torch.allclose(views._blurred(x, torch.full((3,), sigma), sigma), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_one_image_of_a_batch_as_torchvision_with_its_factor(name: str) -> None:
    x, strength = picture(32), 0.4
    table = torch.rand((32, len(views._DECISIONS)), generator=draw(3))
    u = table[:, views._DECISIONS.index(name)]
    factor = strength * (2 * u - 1) + (0.0 if name == "hue" else 1.0)
    y = Views(**{name: strength})(x, draw(3))  # type: ignore[arg-type]
    for image, got, value in zip(x, y, factor.tolist(), strict=True):
        assert torch.allclose(got, getattr(oracle, f"adjust_{name}")(image, value), atol=1e-5)


def test_jitter_and_grayscale_as_often_as_they_say() -> None:
    x = picture().expand(3000, -1, -1, -1)
    unchanged = (Views(brightness=0.5, jitter=0.3)(x, draw()) == x).flatten(1).all(1)
    assert stats.binomtest(int((~unchanged).sum()), 3000, 0.3).pvalue > 1e-4
    y = Views(grayscale=0.2)(x, draw())
    grey = (y[:, 0] == y[:, 1]).flatten(1).all(1)
    assert stats.binomtest(int(grey.sum()), 3000, 0.2).pvalue > 1e-4


def test_noise_has_the_deviation_it_says() -> None:
    noise = Views(noise=0.05)(torch.full((200, 1, 16, 16), 0.5), draw()) - 0.5
    assert noise.std().item() == pytest.approx(0.05, rel=0.02)
    assert noise.mean().item() == pytest.approx(0.0, abs=1e-3)


def test_erases_as_often_and_as_much_as_it_says() -> None:
    y = Views(erase=0.4, erase_area=(0.1, 0.3))(torch.ones(4000, 2, 32, 32), draw())
    share = (y == 0).float().mean((1, 2, 3))
    assert torch.equal(y[:, 0], y[:, 1])
    assert set(y.flatten().tolist()) == {0.0, 1.0}
    assert stats.binomtest(int((share > 0).sum()), 4000, 0.4).pvalue > 1e-4
    assert share[share > 0].mean().item() == pytest.approx(0.2, abs=0.01)
    assert share.max() < 0.35


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", [*PRESETS.values(), EVERYTHING], ids=[*PRESETS, "everything"])
def test_gradients_reach_every_image_and_are_finite(view: Views, channels: int) -> None:
    x = picture(8, channels)
    x[0], x[1], x[2] = 0.0, 1.0, 0.5  # no hue, and at both ends of the range
    x.requires_grad_()
    view(x, draw()).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[3:].flatten(1).abs().sum(1) > 0).all()


def test_gradient_agrees_with_differences() -> None:
    view = Views(crop=(0.5, 0.9), flip=0.5, rotate=10.0, contrast=0.2, saturation=0.2, blur=(0.5, 1.0))
    x = 0.3 + 0.4 * picture(4, size=(6, 6))
    x.requires_grad_()
    weight = torch.rand(x.shape, generator=draw(9))
    (gradient,) = torch.autograd.grad((view(x, draw()) * weight).sum(), x)
    step = 1e-3 * torch.randn(x.shape, generator=draw(8))
    with torch.no_grad():
        ahead, behind = ((view(x + sign * step, draw()) * weight).double().sum() for sign in (1, -1))
    assert (ahead - behind).item() / 2 == pytest.approx((gradient * step).sum().item(), rel=1e-3)


def test_gradient_of_hue_agrees_with_differences() -> None:
    # In float64 and with tiny steps: hue has kinks where channels change places.
    x, turn = picture(3, size=(5, 5)).double().requires_grad_(), torch.tensor([-0.2, 0.01, 0.4]).double()
    assert torch.autograd.gradcheck(lambda y: views._hue_turned(y, turn), x, eps=1e-8, atol=1e-4)


@pytest.mark.parametrize("view", [*PRESETS.values(), EVERYTHING], ids=[*PRESETS, "everything"])
def test_survives_json(view: Views) -> None:
    assert Views(**json.loads(json.dumps(asdict(view)))) == view
    assert hash(view) == hash(replace(view))


def test_colour_options_pass_over_images_without_three_channels() -> None:
    x = picture(5, channels=1)
    assert torch.equal(Views(saturation=0.5, hue=0.5, grayscale=1.0)(x, draw()), x)
    contrast = Views(contrast=0.5)(x, draw())
    assert not torch.equal(contrast, x)


def test_takes_an_empty_batch() -> None:
    assert EVERYTHING(picture(0), draw()).shape == (0, 3, 16, 12)


@pytest.mark.parametrize(
    "options",
    [
        {"flip": 1.5},
        {"erase": -0.1},
        {"crop": (0.0, 1.0)},
        {"crop": (0.9, 0.2)},
        {"crop": (0.5, 1.5)},
        {"ratio": (2.0, 1.0)},
        {"hue": 0.6},
        {"shift": -1},
        {"shift": 1.5},
        {"noise": float("nan")},
        {"blur": (0.0, 1.0)},
        {"rotate": 270.0},
    ],
    ids=str,
)
def test_refuses_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Views(**options)


@pytest.mark.parametrize(
    "x", [torch.rand(3, 8, 8), torch.rand(1, 3, 8, 8).double(), torch.ones(1, 1, 4, 4).byte()]
)
def test_refuses_what_is_no_batch_of_float_images(x: Tensor) -> None:
    with pytest.raises(InputError, match="views of"):
        LIGHT(x, draw())


def test_fields_are_numbers_and_tuples() -> None:
    for field in fields(EVERYTHING):
        assert isinstance(getattr(EVERYTHING, field.name), int | float | tuple)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_runs_on_the_device_with_a_generator_of_either_kind() -> None:
    x = picture(32)
    here = EVERYTHING(x, draw())
    there = EVERYTHING(x.cuda(), draw())  # the same draws, so the same views up to rounding
    assert there.is_cuda
    assert (here - there.cpu()).abs().mean() < 1e-4
    generator = torch.Generator("cuda").manual_seed(0)
    assert EVERYTHING(x.cuda(), generator).is_cuda


def test_a_range_that_is_none_is_refused_on_one_line() -> None:
    for value in (0.5, "x\n", (0.1,), (0.4, 0.2)):
        with pytest.raises(InputError, match=r"blur = \(.*; expected \(low, high\) with 0 < low") as caught:
            Views(blur=value)  # type: ignore[arg-type]  # the mistake
        assert "\n" not in str(caught.value)
