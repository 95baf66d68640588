"""The L-inf ball: nearest projection, uniform starts, limits rounded inwards."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harden.draws import Draws
from harden.threats import Linf
from tests.threats.drawn_situations import situations

pytestmark = pytest.mark.usefixtures("rng_untouched")


@given(data=st.data())
def test_the_linf_projection_is_the_nearest_point(data: st.DataObject) -> None:
    """Coordinate by coordinate: the clamp of the wide point, or of x where that is NaN, up to one ulp."""
    case = data.draw(situations(Linf))
    result = case.elsewhere.clone()
    case.threat.project_(result, case.x)
    eps = float(case.threat.eps)
    low = (case.x.double() - eps).clamp_min(case.threat.bounds[0])
    high = (case.x.double() + eps).clamp_max(case.threat.bounds[1])
    wide = torch.where(case.elsewhere.isnan(), case.x, case.elsewhere).double()
    expected = torch.minimum(torch.maximum(wide, low), high)
    torch.testing.assert_close(result.double(), expected, rtol=2.0**-23, atol=1e-44 + eps * 2.0**-23)


def test_one_unit_in_the_last_place_outside_is_outside() -> None:
    """float32(8/255) is above 8/255, and 0.5 + 8/255 - 0.5 hides it from float32 arithmetic."""
    x = torch.full((1, 3, 4, 4), 0.5)
    x_adv = x.clone()
    threat = Linf("8/255")
    threat.project_(x_adv.fill_(1.0), x)
    assert bool(threat.contains(x_adv, x))
    x_adv[0, 1, 2, 3] = torch.nextafter(x_adv[0, 1, 2, 3], torch.tensor(2.0))
    assert not bool(threat.contains(x_adv, x))
    zero = torch.zeros(1, 1, 1, 1)
    assert Fraction(float(torch.tensor(8 / 255))) > Fraction(8, 255)
    assert not bool(threat.contains(zero + 8 / 255, zero))


def test_linf_starts_are_uniform_and_symmetric_in_every_channel() -> None:
    """A start drawn from [0, eps], or with one eps for all channels applied to the first, would fail."""
    eps = 0.25
    x = torch.full((2_000, 3, 2, 2), 0.5)
    delta = (Linf(eps).start(x, Draws(0, torch.arange(2_000))) - x).transpose(0, 1).flatten(1)
    spread = eps / math.sqrt(3 * delta.shape[1])
    assert bool((delta.mean(1).abs() < 4 * spread).all())
    assert bool((delta.amin(1) < -0.999 * eps).all())
    assert bool((delta.amax(1) > 0.999 * eps).all())
    counts = torch.histc(delta, bins=20, min=-eps, max=eps)
    assert float((counts / counts.mean() - 1).abs().max()) < 0.1


def test_the_median_linf_start_uses_the_whole_budget() -> None:
    """A start of half the budget would pass every membership test."""
    x = torch.full((500, 1, 1, 1), 0.5)
    delta = (Linf("1/4").start(x, Draws(0, torch.arange(500))) - x).abs().flatten().tolist()
    assert statistics.median(delta) == pytest.approx(1 / 8, abs=0.02)
