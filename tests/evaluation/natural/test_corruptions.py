"""Common corruptions: what they do to pixels, that they go by the image alone, and accuracy under them."""

from __future__ import annotations

import colorsys
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, stats
from torch import Tensor, nn
from torch.nn import functional

from harden.data import Splits
from harden.draws import Draws, mix
from harden.errors import InputError
from harden.evaluation import (
    CorruptionRecord,
    accuracy_under_corruptions,
    corrupted,
    evaluate,
    mean_accuracy,
    pgd_suite,
    thresholded,
)
from harden.evaluation.natural.blur import DefocusBlur, GaussianBlur, MotionBlur
from harden.evaluation.natural.corruptions import DEFAULT, SEVERITIES, Corruption, MeanAccuracy
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
from harden.models import Classifier
from harden.statistics import Proportion
from harden.threats import Linf

each = pytest.mark.parametrize("corruption", DEFAULT, ids=lambda corruption: corruption.name)


def pictures(n: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Images with structure at several scales, pixels at 0 and 1 among them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, channels, height, width)
    for size in (2, 5, 11):
        coarse = torch.rand(n, channels, size, size, generator=generator) - 0.5
        x += functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    return (x + 0.5).clamp(0, 1)


def draws(n: int, seed: int = 0) -> Draws:
    return Draws(seed, torch.arange(n))


def distance(corruption: Corruption, x: Tensor, severity: int) -> float:
    return float((corrupted(corruption, x, severity, draws(len(x))) - x).square().mean().sqrt())


# What all of them promise

SHAPES = [(1, 8, 8), (3, 32, 32), (1, 4, 4), (3, 4, 7), (3, 50, 40), (2, 9, 33), (4, 6, 6)]


@each
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_results_are_images_and_the_input_stays(
    corruption: Corruption, shape: tuple[int, int, int], rng_untouched: None
) -> None:
    x = pictures(4, *shape)
    before = x.clone()
    for severity in SEVERITIES:
        found = corrupted(corruption, x, severity, draws(4))
        assert found.dtype == torch.float32
        assert found.shape == x.shape
        assert float(found.min()) >= 0
        assert float(found.max()) <= 1
        assert not torch.equal(found, x)
        assert torch.equal(x, before)


@each
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 9, 13), (3, 40, 70)], ids=str)
def test_an_image_is_corrupted_alike_in_any_batch(
    corruption: Corruption, shape: tuple[int, int, int]
) -> None:
    x, whole = pictures(7, *shape), draws(7, seed=5)
    for severity in (1, 4, 5):
        together = corrupted(corruption, x, severity, whole)
        for index in (torch.tensor([3]), torch.tensor([6, 0, 2]), torch.arange(4)):
            alone = corrupted(corruption, x[index], severity, whole.take(index))
            assert torch.equal(alone, together[index])
    # Nor does the memory's order matter.
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(corrupted(corruption, last, 3, whole), corrupted(corruption, x, 3, whole))


@each
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (3, 64, 48)], ids=str)
def test_distance_grows_with_severity(corruption: Corruption, shape: tuple[int, int, int]) -> None:
    x = pictures(12, *shape)
    distances = [distance(corruption, x, severity) for severity in SEVERITIES]
    if isinstance(corruption, Pixelate):
        # Sizes of small whole numbers beat with the image's own; the ends show it.
        assert distances[0] < distances[4]
    else:
        assert distances == sorted(distances)
        assert distances[0] < distances[4]


@each
@pytest.mark.parametrize("severity", [0, 6, -1, 1.5, "3", None])
def test_other_severities_are_refused(corruption: Corruption, severity: Any) -> None:
    with pytest.raises(InputError, match=r"severity .*; expected 1, 2, 3, 4 or 5; leave severity 0 out"):
        corrupted(corruption, pictures(1, 1, 8, 8), severity, draws(1))


BAD: list[tuple[Any, str]] = [
    (torch.full((2, 1, 8, 8), 2.0), r"min 2 and max 2; expected pixels in \[0, 1\]"),
    (torch.full((2, 1, 8, 8), -0.5), r"min -0.5"),
    (torch.full((2, 1, 8, 8), math.nan), "nan"),
    (torch.zeros(2, 8, 8), r"images of shape \(2, 8, 8\)"),
    (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "dtype torch.uint8"),
    (torch.zeros(2, 1, 3, 8), "images of 3 x 8 pixels; expected at least 4 x 4"),
    (np.zeros((2, 1, 8, 8)), "images as a ndarray"),
]


@pytest.mark.parametrize(("x", "message"), BAD, ids=[message for _, message in BAD])
def test_images_that_are_none_are_refused(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        corrupted(GaussianNoise(), x, 1, draws(2))


def test_no_images_stay_none_and_overshoot_by_rounding_is_taken() -> None:
    assert corrupted(Jpeg(), torch.zeros(0, 3, 8, 8), 1, draws(0)).shape == (0, 3, 8, 8)
    x = pictures(2, 1, 8, 8) * (1 + 2e-5)
    assert float(corrupted(ShotNoise(), x.double(), 1, draws(2)).max()) <= 1


@dataclass(frozen=True)
class Mine:
    """A user's own."""

    result: Any
    name: str = "mine"

    def __call__(self, x: Tensor, severity: int, draws: Draws) -> Tensor:
        found: Tensor = self.result(x)
        return found


def test_a_users_own_is_clamped_and_checked() -> None:
    x = pictures(2, 1, 8, 8)
    found = corrupted(Mine(lambda x: x.double() * 8 - 4), x, 1, draws(2))
    assert torch.equal(found, (x.double() * 8 - 4).float().clamp(0, 1))
    with pytest.raises(InputError, match=r"'mine' made shape \(1, 1, 8, 8\) of \(2, 1, 8, 8\)"):
        corrupted(Mine(lambda x: x[:1]), x, 1, draws(2))
    with pytest.raises(InputError, match="'mine' made NaN"):
        corrupted(Mine(lambda x: x * math.nan), x, 1, draws(2))


def test_surroundings_change_nothing() -> None:
    x = pictures(3, 3, 12, 12)
    expected = [corrupted(corruption, x, 4, draws(3)) for corruption in DEFAULT]
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            found = [corrupted(corruption, x, 4, draws(3)) for corruption in DEFAULT]
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


# Each by itself


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


# Accuracy


def small(classes: int = 2) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.Dropout(), nn.Flatten(), nn.Linear(144, classes)),
        )
    network.get_parameter("5.weight").data.mul_(20)
    return Classifier(network)


def statistics_of(model: Classifier) -> Tensor:
    return model.network.get_buffer("1.running_mean")


def few(n: int = 30) -> tuple[Tensor, Tensor]:
    return pictures(n, 1, 8, 8), torch.arange(n) % 2


FEW: tuple[Corruption, ...] = (GaussianNoise(), MotionBlur(), Jpeg())


def test_counts_are_those_of_a_loop(rng_untouched: None) -> None:
    model, (x, y) = small(), few()
    statistics = statistics_of(model).clone()
    records = accuracy_under_corruptions(model.logits, (x, y), FEW, seed=3)
    assert model.training
    assert torch.equal(statistics_of(model), statistics)
    model.eval()
    with torch.no_grad():
        for record, corruption in zip(records, FEW, strict=True):
            assert record.name == corruption.name
            assert record.clean == Proportion(int((model(x).argmax(1) == y).sum()), 30)
            own = Draws(mix(3), torch.arange(30))
            counts = [
                int((model(corrupted(corruption, x, severity, own)).argmax(1) == y).sum())
                for severity in SEVERITIES
            ]
            assert [each.count for each in record.accuracy] == counts
            assert record.mean == pytest.approx(sum(counts) / 150)
    mean = mean_accuracy(records)
    assert mean.value == pytest.approx(sum(record.mean for record in records) / 3)
    assert mean.n == 30
    low, high = mean.interval
    assert low <= mean.value <= high


def test_neither_batches_nor_the_other_corruptions_matter() -> None:
    model, data = small(), few()
    reported: list[Any] = []
    whole = accuracy_under_corruptions(model.logits, data, FEW)
    assert (
        accuracy_under_corruptions(model.logits, data, FEW, batch_size=7, on_batch=reported.append) == whole
    )
    assert accuracy_under_corruptions(model.logits, data, FEW[::-1]) == whole[::-1]
    assert accuracy_under_corruptions(model.logits, data, FEW[:1]) == whole[:1]
    assert [(phase.name, phase.done, phase.total) for phase in reported][-2:] == [
        ("corruptions", 28, 30),
        ("corruptions", 30, 30),
    ]
    assert reported[-1].passes == pytest.approx(30 * 16 / 3)


def test_a_judge_is_anything_that_gives_logits_and_right_is_as_in_evaluate() -> None:
    x, y = few(8)

    def judge(at: Tensor) -> Tensor:
        logits = functional.one_hot(torch.arange(len(at)) % 2, 2).float()
        logits[0] = math.nan
        return logits

    (record,) = accuracy_under_corruptions(judge, (x, y), [Contrast()])
    assert (record.clean.count, [each.count for each in record.accuracy]) == (7, [7] * 5)


def test_the_threshold_decides_where_there_is_one() -> None:
    model, (x, y) = small(), few()
    always = accuracy_under_corruptions(thresholded(model.logits, 1e-300), (x, y), [Brightness()])
    assert {each.count for each in (always[0].clean, *always[0].accuracy)} == {int(y.sum())}
    assert model.training


def test_clean_accuracy_is_that_of_evaluate() -> None:
    model, data = small(), few()
    found = evaluate(model, data, Linf(0), pgd_suite(1, 1))
    assert accuracy_under_corruptions(model.logits, data, FEW[:1])[0].clean == found.clean


def test_accuracy_falls_on_digits(plain: Classifier, digits: Splits) -> None:
    data = (digits.test.x[:200], digits.test.y[:200])
    records = accuracy_under_corruptions(plain.logits, data)
    assert [record.name for record in records] == [corruption.name for corruption in DEFAULT]
    assert all(record.accuracy[4].count <= record.clean.count + 5 for record in records)
    assert mean_accuracy(records).value < records[0].clean.value


def test_data_of_one_class_has_an_accuracy() -> None:
    x, y = few(6)
    (record,) = accuracy_under_corruptions(small().logits, (x, torch.zeros_like(y)), FEW[:1])
    assert record.clean.n == 6


def test_what_can_not_be_measured_is_refused() -> None:
    model, data = small(), few(4)
    with pytest.raises(InputError, match="no corruptions; expected one at least"):
        accuracy_under_corruptions(model.logits, data, ())
    with pytest.raises(InputError, match="two corruptions named 'jpeg'"):
        accuracy_under_corruptions(model.logits, data, (Jpeg(), Contrast(), Jpeg()))
    with pytest.raises(InputError, match="no records"):
        mean_accuracy(())
    with pytest.raises(InputError, match="labels 0 to 2 for 2 logits"):
        accuracy_under_corruptions(model.logits, (data[0], torch.tensor([0, 1, 2, 0])), FEW)
    for x, message in ((data[0] * 255, "divide by 255"), (data[0][:0], "no pixels|no examples")):
        with pytest.raises(InputError, match=message):
            accuracy_under_corruptions(model.logits, (x, data[1][: len(x)]), FEW)


@pytest.mark.parametrize("share", [0.5, 0.97])
def test_the_interval_of_the_mean_covers(share: float) -> None:
    rng = np.random.default_rng(0)
    # The corruptions of an image succeed and fail together, as strongly as they can.
    runs = [float((rng.uniform(size=60) < share).mean()) for _ in range(2000)]
    held = [low <= share <= high for low, high in (MeanAccuracy(run, 60).interval for run in runs)]
    assert sum(held) >= 0.95 * len(held)


def test_a_record_of_one_kind_has_its_mean() -> None:
    record = CorruptionRecord("x", Proportion(4, 4), tuple(Proportion(count, 4) for count in (4, 3, 2, 1, 0)))
    assert record.mean == 0.5
