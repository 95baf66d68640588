"""Noise, contrast, brightness and compression against scipy, Pillow and closed forms."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from harden.evaluation import (
    corrupted,
)
from harden.evaluation.natural.corruptions import SEVERITIES
from harden.evaluation.natural.noise_and_compression import (
    Brightness,
    Contrast,
    GaussianNoise,
    Jpeg,
    Pixelate,
    ShotNoise,
    length_scale,
    poisson,
)
from tests.evaluation.natural.pictures import draws, pictures


def test_gaussian_noise_has_its_deviation_and_is_the_same_at_every_severity() -> None:
    x = torch.full((20, 3, 32, 32), 0.5)
    noise = [corrupted(GaussianNoise(), x, severity, draws(20)) - x for severity in SEVERITIES]
    for severity, found in zip(SEVERITIES, noise, strict=True):
        level = GaussianNoise().levels[severity - 1]
        assert float(found.std()) == pytest.approx(level, rel=0.02)
        assert float(found.mean()) == pytest.approx(0, abs=0.002)
        assert torch.allclose(found / level, noise[0] / 0.04, atol=1e-4)


@settings(max_examples=15)
@given(st.sampled_from([500.0, 75.0, 50.0]), st.integers(0, 99))
def test_shot_noise_is_poisson_by_inversion(photons: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (400,), generator=generator) / 255
    u = (torch.rand(400, generator=generator).double()).clamp(2**-25, 1 - 2**-25)
    expected = stats.poisson.ppf(u.numpy(), (x.double() * 255).round().numpy() * photons / 255)
    assert poisson(u, x, photons).tolist() == expected.tolist()


def test_shot_noise_at_the_ends() -> None:
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 64, 64).clone()
    found = ShotNoise()(x, 3, draws(2))
    assert (found[0] == 0).all()
    counts = found[1] * 100
    assert float(counts.mean()) == pytest.approx(100, abs=1)
    assert float(counts.var()) == pytest.approx(100, rel=0.1)
    extreme = torch.tensor([2**-25, 1 - 2**-25], dtype=torch.float64)
    assert poisson(extreme, torch.ones(2), 500.0).tolist() == stats.poisson.ppf(extreme.numpy(), 500).tolist()


def test_contrast_and_brightness_in_closed_form() -> None:
    x = pictures(5, 3, 10, 12)
    mean = x.mean((2, 3), keepdim=True)
    for severity, c in zip(SEVERITIES, (0.75, 0.5, 0.4, 0.3, 0.15), strict=True):
        assert torch.allclose(corrupted(Contrast(), x, severity, draws(5)), (x - mean) * c + mean, atol=1e-6)
    grey = pictures(2, 1, 8, 8)
    for severity, c in zip(SEVERITIES, (0.05, 0.1, 0.15, 0.2, 0.3), strict=True):
        expected = (grey + c).clamp(max=1)
        assert torch.allclose(corrupted(Brightness(), grey, severity, draws(2)), expected, atol=1e-6)


def test_brightness_of_colours_is_value_in_hsv() -> None:
    x = torch.cat((pictures(2, 3, 6, 6), torch.zeros(1, 3, 6, 6)))
    found = corrupted(Brightness(), x, 3, draws(3))
    colours = (part.permute(0, 2, 3, 1).reshape(-1, 3).tolist() for part in (x, found))
    for old, new in zip(*colours, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*old)
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.15, 1))
        assert new == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_and_pixelate_are_pillows(channels: int) -> None:
    x = (pictures(2, channels, 32, 32) * 255).round() / 255
    jpeg, coarse = corrupted(Jpeg(), x, 2, draws(2)), corrupted(Pixelate(), x, 5, draws(2))
    for place in range(2):
        pixels = (x[place] * 255).round().byte().permute(1, 2, 0).squeeze(2).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=65)
        expected = torch.from_numpy(np.array(Image.open(file))).view(32, 32, channels).permute(2, 0, 1) / 255
        assert torch.equal(jpeg[place], expected)
        box = Image.Resampling.BOX
        again = Image.fromarray(pixels).resize((20, 20), box).resize((32, 32), box)
        wanted = torch.from_numpy(np.array(again)).view(32, 32, channels).permute(2, 0, 1) / 255
        assert torch.allclose(coarse[place], wanted, atol=1 / 255)  # Pillow rounds to 8 bits


def test_other_channels_are_compressed_each_by_itself() -> None:
    x = pictures(2, 4, 16, 16)
    found = corrupted(Jpeg(), x, 4, draws(2))
    for channel in range(4):
        alone = corrupted(Jpeg(), x[:, channel : channel + 1], 4, draws(2))
        assert torch.equal(found[:, channel : channel + 1], alone)


def test_lengths_grow_with_the_image_as_the_docstring_says() -> None:
    assert [length_scale(torch.zeros(1, 1, side, 300)) for side in (4, 8, 32)] == [1, 1, 1]
    assert 0.4 * length_scale(torch.zeros(1, 3, 224, 224)) == pytest.approx(1.06, abs=0.005)
    assert length_scale(torch.zeros(1, 3, 224, 500)) == pytest.approx(2.65, abs=0.005)
