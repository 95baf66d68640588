"""Paired comparisons against scipy, hand-made values, and an exact count of how often the bound errs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from benchmarks.gate_coverage import MARGINS, MORE, false_pass, main, sizes
from harden.errors import InputError
from harden.regression.paired_comparison import Pairs, lower_bound, p_worse, score, seen, smallest_visible

counts = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 3000)).map(
    lambda three: (three[0] + three[1] + three[2], three[0], three[1])
)


def test_pairs_are_counted() -> None:
    before, now = np.array([True, True, False, False, True]), np.array([True, False, True, False, True])
    pairs = Pairs.of(before, now)
    assert pairs == Pairs(n=5, both=2, gained=1, lost=1)
    assert (pairs.before.count, pairs.now.count, pairs.difference, pairs.discordant) == (3, 3, 0.0, 2)


@pytest.mark.parametrize(
    "other", [np.array([True]), np.array([1, 0]), np.array([[True, False]]), np.array([0.0, 1.0])]
)
def test_what_is_no_pair_is_refused(other: NDArray[Any]) -> None:
    with pytest.raises(InputError, match="same images"):
        Pairs.of(np.array([True, False]), other)


@pytest.mark.parametrize("numbers", [(0, 0, 0, 0), (5, 3, 2, 1), (5, -1, 0, 0)])
def test_counts_that_can_not_be(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError):
        Pairs(*numbers)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(gained: int, lost: int) -> None:
    ours = float(p_worse(gained, lost))
    if gained + lost == 0:
        assert ours == 1.0
        return
    theirs = stats.binomtest(gained, gained + lost, 0.5, alternative="less").pvalue
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-300)


def test_the_score_is_tangos_moved_by_one_image() -> None:
    """By hand for n = 300, b = 0, c = 2, d = -0.02: the likeliest loss is 0.02, the variance 300 * 0.0196."""
    assert float(score(300, 0, 2, -0.02)) == pytest.approx((-2 + 6 - 1) / math.sqrt(300 * 0.0196))
    # With d = 0 it is McNemar's statistic, (b - c) / sqrt(b + c), less the image.
    assert float(score(100, 9, 16, 0.0)) == pytest.approx((9 - 16 - 1) / 5)


def test_the_score_has_the_variance_of_the_likeliest_probabilities() -> None:
    n, b, c, d = 200, 7, 15, -0.03
    loss = np.linspace(0.03, 0.5, 2_000_001)
    likelihood = b * np.log(loss + d + 1e-300) + c * np.log(loss) + (n - b - c) * np.log1p(-2 * loss - d)
    best = float(loss[int(likelihood.argmax())])
    expected = (b - c - n * d - 1) / math.sqrt(n * (2 * best + d * (1 - d)))
    assert float(score(n, b, c, d)) == pytest.approx(expected, rel=1e-4)


@given(counts, st.floats(-0.5, 0.5), st.floats(0.001, 0.4))
def test_the_score_falls_as_the_difference_rises(three: tuple[int, int, int], d: float, step: float) -> None:
    """Where it is positive, which is where a bound lies: no variance at all makes it -inf at d = 0."""
    n, b, c = three
    assert float(score(n, b, c, d + step)) <= max(float(score(n, b, c, d)), 0.0) + 1e-9


@given(counts, st.sampled_from([0.01, 0.05, 0.2]))
def test_bounds_are_symmetric_and_hold_the_estimate(three: tuple[int, int, int], alpha: float) -> None:
    n, b, c = three
    one, other = Pairs(n, 0, b, c), Pairs(n, 0, c, b)
    assert one.lower(alpha) == -other.upper(alpha)
    assert one.lower(alpha) <= one.difference <= one.upper(alpha)
    assert one.lower(alpha / 2) <= one.lower(alpha)
    if c:
        assert lower_bound(n, b + 1, c - 1, alpha) >= lower_bound(n, b, c, alpha)


def test_alpha_is_a_share() -> None:
    for alpha in (0.0, 0.6, math.nan):
        with pytest.raises(InputError, match="alpha"):
            lower_bound(100, 1, 1, alpha)


def test_the_exact_count_agrees_with_the_bound_itself() -> None:
    n, margin, alpha, gain, loss = 60, 0.05, 0.05, 0.05, 0.10
    total = 0.0
    for b in range(25):
        for c in range(30):
            if lower_bound(n, b, c, alpha) > -margin:
                total += float(stats.multinomial.pmf([b, c, n - b - c], n, [gain, loss, 1 - gain - loss]))
    assert total == pytest.approx(false_pass(n, margin, alpha, gain + loss), abs=1e-6)


def test_the_whole_count_is_that_of_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    """A tenth of its sizes of n, the same margins and discordances."""
    assert main(["--sizes", "16"]) == 0
    assert capsys.readouterr().out.count("false_pass") == 4
    assert (len(sizes(168)), len(MORE), len(MARGINS)) == (161, 17, 4)


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.05])
def test_a_drop_of_the_margin_passes_with_alpha_at_most(margin: float) -> None:
    for n in (10, 34, 100, 185, 300, 1000, 2500, 10_000):
        for extra in (0.0, 0.001, 0.005, 0.02, 0.06, 0.12, 0.4, 1.0):
            discordance = min(margin + extra, 1.0)
            assert false_pass(n, margin, 0.05, discordance) <= 0.05, (n, discordance)


def test_without_the_shift_it_would_not_hold() -> None:
    """Why one image is taken off: n = 300 and two losses, Poisson with mean 6, are no rare event."""
    unshifted = (-2 + 6) / math.sqrt(300 * 0.0196)
    assert unshifted > -special.ndtri(0.05)
    assert stats.binom.cdf(2, 300, 0.02) > 0.055


def test_the_power_is_that_of_a_simulation() -> None:
    generator = np.random.default_rng(0)
    n, discordance, drop = 400, 0.1, 0.03
    chances = [(discordance - drop) / 2, (discordance + drop) / 2, 1 - discordance]
    drawn = generator.multinomial(n, chances, size=20_000)
    share = float((p_worse(drawn[:, 0], drawn[:, 1]) < 0.05).mean())
    assert seen(n, discordance, drop, 0.05) == pytest.approx(share, abs=0.012)


def test_the_smallest_visible_drop_is_seen_with_that_power_and_shrinks_with_n() -> None:
    drops = [smallest_visible(n, 0.06, 0.05) for n in (100, 400, 1000, 4000)]
    assert drops == sorted(drops, reverse=True)
    assert seen(1000, 0.06, drops[2], 0.05) == pytest.approx(0.8, abs=0.01)
    assert seen(1000, 0.06, 0.01, 0.05) < 0.4  # one point in a thousand images is a matter of luck
    assert smallest_visible(3, 0.06, 0.05) == 1.0  # 1/8 is not below 1/20
