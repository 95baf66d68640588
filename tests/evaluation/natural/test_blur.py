"""Gaussian, defocus and motion blur against scipy and their definitions."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from harden.evaluation import (
    corrupted,
)
from harden.evaluation.natural.blur import DefocusBlur, GaussianBlur, MotionBlur
from harden.evaluation.natural.corruptions import SEVERITIES, Corruption
from harden.evaluation.natural.noise_and_compression import (
    length_scale,
)
from tests.evaluation.natural.pictures import draws, pictures


@pytest.mark.parametrize("severity", SEVERITIES)
def test_gaussian_blur_is_scipys(severity: int) -> None:
    x = pictures(2, 3, 24, 30)
    sigma = (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1]
    expected = ndimage.gaussian_filter(x.double().numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4)
    found = corrupted(GaussianBlur(), x, severity, draws(2))
    assert torch.allclose(found.double(), torch.from_numpy(expected), atol=1e-6)


@pytest.mark.parametrize("corruption", [GaussianBlur(), DefocusBlur(), MotionBlur()], ids=lambda c: c.name)
def test_blurs_keep_what_is_flat_and_the_sum_of_a_point(corruption: Corruption) -> None:
    flat = torch.full((2, 1, 12, 12), 0.3)
    point = torch.zeros(2, 1, 61, 61)
    point[:, :, 30, 30] = 1.0
    for severity in SEVERITIES:
        assert torch.allclose(corrupted(corruption, flat, severity, draws(2)), flat, atol=1e-6)
        spread = corrupted(corruption, point, severity, draws(2))
        assert spread.sum((1, 2, 3)).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
        assert float(spread.max()) < 1


def test_defocus_is_a_disk() -> None:
    point = torch.zeros(1, 1, 33, 33)
    point[0, 0, 16, 16] = 1.0
    found = DefocusBlur(((6.0, 0.01),) * 5)(point, 1, draws(1))[0, 0]
    rows, columns = torch.meshgrid(torch.arange(33) - 16, torch.arange(33) - 16, indexing="ij")
    # Of 33 pixels: the radius is a little larger than of 32.
    radius = 6 * length_scale(point)
    inside = rows**2 + columns**2 <= radius**2
    assert torch.allclose(found, inside.float() / inside.sum(), atol=1e-6)


def test_motion_goes_one_way_at_an_angle_of_the_images_own() -> None:
    n = 200
    point = torch.zeros(n, 1, 31, 31)
    point[:, :, 15, 15] = 1.0
    found = MotionBlur()(point, 5, draws(n))[:, 0]
    rows, columns = torch.arange(31.0) - 15, torch.arange(31.0) - 15
    down, right = (found * rows.view(1, -1, 1)).sum((1, 2)), (found * columns).sum((1, 2))
    angle = torch.rad2deg(torch.atan2(down, right))
    # A pixel shows what lies to its right, so that a point's trail is to its left.
    assert (right < 0).all()
    slope = torch.rad2deg(torch.atan(down / right))
    assert float(slope.min()) < -35
    assert float(slope.max()) > 35
    assert float(slope.abs().max()) <= 50
    assert len(set(angle.tolist())) > 20
