"""Common corruptions: what they do to pixels, that they go by the image alone, and accuracy under them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
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
from harden.evaluation.natural.blur import MotionBlur
from harden.evaluation.natural.corruptions import DEFAULT, SEVERITIES, Corruption, MeanAccuracy
from harden.evaluation.natural.noise_and_compression import (
    Brightness,
    Contrast,
    GaussianNoise,
    Jpeg,
    Pixelate,
    ShotNoise,
)
from harden.models import Classifier
from harden.statistics import Proportion
from harden.threats import Linf
from tests.evaluation.natural.pictures import draws, pictures

each = pytest.mark.parametrize("corruption", DEFAULT, ids=lambda corruption: corruption.name)


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
