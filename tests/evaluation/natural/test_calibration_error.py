"""Calibration errors against closed forms, numpy by hand and scikit-learn; what their interval covers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harden.errors import InputError
from harden.evaluation import (
    Calibration,
    Reliability,
    adaptive_ece,
    confidences,
)


def logits_of(confidence: Tensor, classes: int = 2) -> Tensor:
    """Logits, float64, whose first class has such a probability and whose others share the rest."""
    rest = ((1 - confidence) / (classes - 1)).unsqueeze(1).expand(-1, classes - 1)
    return torch.cat((confidence.unsqueeze(1), rest), 1).log()


def measured(logits: Tensor, y: Tensor, bins: int = 15) -> Reliability:
    found = Calibration(bins)
    found.add(logits, y)
    return found.result()


def random(n: int, classes: int, seed: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, classes, generator=generator)
    return logits, torch.randint(classes, (n,), generator=generator)


# Values


def test_a_closed_form() -> None:
    # Four answers at 0.9, three right; two at 0.6, one right: 4/6 |3/4 - 0.9| + 2/6 |1/2 - 0.6|.
    confidence = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.6, 0.6], dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 1, 0, 1])
    found = measured(logits_of(confidence), y)
    assert found.ece == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.1)
    assert (found.n, found.accuracy.count, found.not_finite) == (6, 4, 0)
    filled = [each for each in found.bins if each.n]
    assert [(each.n, each.right) for each in filled] == [(2, 1), (4, 3)]
    assert [each.confidence for each in filled] == pytest.approx([0.6, 0.9])
    assert filled[1].accuracy is not None
    assert (filled[1].accuracy.count, filled[1].accuracy.n) == (3, 4)
    assert [each.confidence for each in found.bins if not each.n] == [None] * 13
    assert found.brier == pytest.approx((3 * 0.02 + 1.62 + 0.32 + 0.72) / 6)


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 33])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_it_is_what_numpy_makes_of_the_definition(bins: int, classes: int) -> None:
    logits, y = random(700, classes, seed=bins)
    p = torch.softmax(logits.double(), 1).numpy()
    confidence, right = p.max(1), p.argmax(1) == y.numpy()
    expected = 0.0
    for m in range(bins):
        mine = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if mine.any():
            expected += mine.mean() * abs(right[mine].mean() - confidence[mine].mean())
    found = measured(logits, y, bins)
    assert found.ece == pytest.approx(expected, abs=1e-12)
    onehot = np.eye(classes)[y.numpy()]
    assert found.brier == pytest.approx(((p - onehot) ** 2).sum(1).mean(), abs=1e-12)
    cut = np.array_split(np.argsort(confidence), bins)
    mass = sum(abs((right[part] - confidence[part]).sum()) for part in cut) / 700
    assert adaptive_ece(*confidences(logits, y), bins) == pytest.approx(mass, abs=1e-12)


def test_scikit_learn_draws_the_same_curve() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    logits, y = random(500, 2, seed=3)
    confidence, right = confidences(logits, y)
    found = measured(logits, y, 10)
    accuracy, mean = curve(right.numpy(), confidence.numpy(), n_bins=10, strategy="uniform")
    filled = [each for each in found.bins if each.n]
    assert [each.accuracy.value for each in filled if each.accuracy] == pytest.approx(accuracy.tolist())
    assert [each.confidence for each in filled] == pytest.approx(mean.tolist())
    brier = metrics.brier_score_loss(y.numpy(), torch.softmax(logits.double(), 1)[:, 1].numpy())
    assert found.brier == pytest.approx(2 * brier)  # over both classes


@given(st.lists(st.integers(1, 40), max_size=8), st.integers(0, 5))
def test_batches_change_nothing(sizes: list[int], seed: int) -> None:
    logits, y = random(sum(sizes) + 1, 4, seed)
    whole, parts = measured(logits, y), Calibration()
    for z, labels in zip(torch.split(logits, [*sizes, 1]), torch.split(y, [*sizes, 1]), strict=True):
        parts.add(z, labels)
    found = parts.result()
    assert [(each.n, each.right) for each in found.bins] == [(each.n, each.right) for each in whole.bins]
    assert found.ece == pytest.approx(whole.ece, abs=1e-12)
    assert found.brier == pytest.approx(whole.brier, abs=1e-12)
    assert found.interval() == pytest.approx(whole.interval(), abs=1e-12)


@given(st.integers(0, 20), st.integers(1, 30))
def test_the_order_of_examples_changes_nothing(seed: int, bins: int) -> None:
    logits, y = random(60, 3, seed)
    logits = logits.round()  # so that confidences tie
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    first = adaptive_ece(*confidences(logits, y), bins)
    assert adaptive_ece(*confidences(logits[order], y[order]), bins) == pytest.approx(first, abs=1e-12)
    assert 0 <= first <= 1


def test_a_bin_holds_its_upper_end() -> None:
    for classes in (2, 3, 5, 15):
        found = measured(torch.zeros(4, classes), torch.zeros(4, dtype=torch.int64))
        (filled,) = (each for each in found.bins if each.n)
        assert filled.low < 1 / classes <= filled.high
    (sure,) = (each for each in measured(torch.tensor([[1e6, 0.0]]), torch.tensor([0])).bins if each.n)
    assert (sure.low, sure.high) == (14 / 15, 1.0)


def test_perfect_and_worst() -> None:
    sure = torch.tensor([[1e6, 0.0]] * 5)
    assert measured(sure, torch.zeros(5, dtype=torch.int64)).ece == 0
    worst = measured(sure, torch.ones(5, dtype=torch.int64))
    assert (worst.ece, worst.brier, worst.square) == (1, 2, 1)
    assert adaptive_ece(*confidences(sure, torch.ones(5, dtype=torch.int64))) == 1
    # Half of the answers of a coin are right: calibrated, and of no use, which the Brier score shows.
    coin = measured(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]))
    assert (coin.ece, coin.brier) == (0, 0.5)


@pytest.mark.parametrize("temperature", [1e-38, 1e-6, 1.0, 1e6, 1e38])
def test_extreme_temperatures(temperature: float) -> None:
    logits, y = random(50, 3, seed=0, scale=1.0)
    logits = (logits.double() / temperature).clamp(-3e38, 3e38).float()
    found = measured(logits, y)
    assert found.not_finite == 0
    assert 0 <= found.ece <= 1
    assert found.accuracy.count == int((logits.argmax(1) == y).sum())
    if temperature < 1e-5:
        assert found.ece == pytest.approx(1 - found.accuracy.value, abs=1e-6)
    if temperature > 1e5:
        assert found.ece == pytest.approx(abs(1 / 3 - found.accuracy.value), abs=1e-6)


# Logits that are not finite


def test_logits_that_are_not_finite_are_wrong_and_counted_apart() -> None:
    logits, y = random(20, 3, seed=1)
    whole = measured(logits, y)
    bad = torch.tensor([[math.nan, 0.0, 9.0], [math.inf, 0.0, 0.0], [0.0, 1.0, -math.inf]])
    found = measured(torch.cat((bad, logits)), torch.cat((torch.tensor([2, 0, 1]), y)))
    assert (found.n, found.not_finite) == (23, 3)
    assert (found.accuracy.count, found.accuracy.n) == (whole.accuracy.count, 23)
    assert (found.ece, found.brier) == (whole.ece, whole.brier)
    confidence, right = confidences(bad, torch.tensor([2, 0, 1]))
    assert confidence.isnan().all()
    assert not right.any()
    joined = confidences(torch.cat((bad, logits)), torch.cat((torch.tensor([2, 0, 1]), y)))
    assert adaptive_ece(*joined) == adaptive_ece(*confidences(logits, y))


# The interval


@pytest.mark.parametrize("n", [30, 200, 2000])
@pytest.mark.parametrize("gap", [0.0, 0.15])
def test_the_interval_covers(n: int, gap: float) -> None:
    """The population: confidence uniform on (0.5, 1), right with probability confidence - gap."""
    bins, runs, covered = 10, 300, 0
    # With a gap of one sign the population's ECE is the gap, whatever the bins.
    rng = np.random.default_rng(n)
    widths = []
    for _ in range(runs):
        confidence = torch.from_numpy(rng.uniform(0.5, 1, n))
        y = torch.from_numpy((rng.uniform(size=n) >= confidence.numpy() - gap).astype(np.int64))
        found = measured(logits_of(confidence), y, bins)
        low, high = found.interval()
        assert low <= found.ece <= high
        covered += low <= gap <= high
        widths.append(high - found.ece)
    assert covered >= 0.95 * runs
    assert max(widths) <= math.sqrt(2 * math.log(40) / n) + 1e-12


def test_the_interval_shrinks_and_grows_as_it_should() -> None:
    y = torch.zeros(100_000, dtype=torch.int64)
    confidence = torch.full((100_000,), 0.75, dtype=torch.float64)
    wide, narrow = (measured(logits_of(confidence[:n]), y[:n]) for n in (1_000, 100_000))
    for found in (wide, narrow):
        assert found.ece == pytest.approx(0.25)
        ninety, usual = found.interval(0.9), found.interval()
        assert usual[0] <= ninety[0] <= ninety[1] <= usual[1]
    low, high = narrow.interval()
    assert (low, high) == pytest.approx((0.25, 0.25), abs=0.02)
    assert low > 0.2
    assert wide.interval()[1] - 0.25 == pytest.approx(0.0859, abs=1e-4)  # what the docstring says


# What is refused

Z, Y = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
REFUSED: list[tuple[Any, Any, str]] = [
    (torch.zeros(3), Y, r"logits of dtype torch.float32 and shape \(3,\); expected floats \(N, K\)"),
    (torch.zeros(3, 1), Y, "at least two classes; return torch.cat"),
    (torch.zeros(3, 2, dtype=torch.int64), Y, "logits of dtype torch.int64"),
    (Z, Y[:2], "expected an int64 label for each"),
    (Z, Y.float(), "labels of dtype torch.float32"),
    (Z, torch.tensor([0, 1, 2]), "labels 0 to 2 for 2 logits; expected labels 0 to 1"),
    (Z, torch.tensor([0, -1, 1]), "labels -1 to 1 for 2 logits"),
]


@pytest.mark.parametrize(("logits", "y", "message"), REFUSED)
def test_what_is_no_answer_is_refused(logits: Any, y: Any, message: str) -> None:
    for function in (Calibration().add, confidences):
        with pytest.raises(InputError, match=message):
            function(logits, y)


def test_nothing_is_refused_as_nothing() -> None:
    empty = Calibration()
    with pytest.raises(InputError, match="no examples; expected at least one confidence"):
        empty.result()
    empty.add(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InputError, match="no examples"):
        empty.result()
    empty.add(torch.full((2, 3), math.nan), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match="2 examples without finite logits"):
        empty.result()
    for bins in (0, -3):
        with pytest.raises(InputError, match=r"bins; expected at least one"):
            Calibration(bins)
        with pytest.raises(InputError, match=r"bins; expected at least one"):
            adaptive_ece(torch.ones(2), torch.ones(2, dtype=torch.bool), bins)
    with pytest.raises(InputError, match="no confidences"):
        adaptive_ece(torch.full((2,), math.nan), torch.zeros(2, dtype=torch.bool))
    with pytest.raises(InputError, match=r"confidences from 0.5 to 3; expected probabilities"):
        adaptive_ece(torch.tensor([0.5, 3.0]), torch.zeros(2, dtype=torch.bool))
    with pytest.raises(InputError, match=r"right torch.float32"):
        adaptive_ece(torch.ones(2), torch.ones(2))
    for confidence in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="a confidence of"):
            measured(Z, Y).interval(confidence)
