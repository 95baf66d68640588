"""Sample sizes: from the returned n on, every split of the discordant images decides."""

from __future__ import annotations

import pytest

from harden.regression.paired_comparison import Pairs, lower_bound, p_worse, smallest_visible
from harden.regression.sample_size import POWER, needed, outlook


@pytest.mark.parametrize(("discordance", "margin"), [(0.02, 0.02), (0.06, 0.02), (0.12, 0.02), (0.06, 0.01)])
def test_at_the_needed_n_every_split_decides(discordance: float, margin: float) -> None:
    def undecided(n: int) -> list[int]:
        t = round(n * discordance)
        return [
            b
            for b in range(t + 1)
            if not lower_bound(n, b, t - b, 0.05) > -margin
            and not (p_worse(b, t - b) < 0.05 and Pairs(n, 0, b, t - b).upper(0.05) < 0)
        ]

    n = needed(discordance, margin, 0.05, 0.05)
    assert undecided(n) == []
    assert len(undecided(n // 2)) > 0


def test_fewer_images_suffice_for_a_wider_margin_and_more_discordance_takes_more() -> None:
    by_margin = [needed(0.06, margin, 0.05, 0.05) for margin in (0.02, 0.04)]
    assert by_margin[0] > 3 * by_margin[1]
    assert needed(0.02, 0.02, 0.05, 0.05) < by_margin[0]
    # z = z' = 1.645: (2 z)^2 s^2 / margin^2 = 1623 images for s^2 = 0.06.
    assert by_margin[0] == pytest.approx(10.822 * 0.06 / 0.02**2, rel=0.1)


def test_the_outlook_is_of_the_discordance_seen_with_one_image_more() -> None:
    pairs = Pairs(1000, 500, 20, 30)
    found = outlook(pairs, 0.02, 0.05, 0.025)
    assert found.discordance == 51 / 1002
    assert found.needed == needed(51 / 1002, 0.02, 0.05, 0.025) > 1000
    assert found.visible == smallest_visible(1000, 51 / 1002, 0.025, POWER)
    # An undecided comparison takes more images than there were, whatever the approximation gives.
    assert outlook(Pairs(5000, 4000, 0, 0), 0.02, 0.05, 0.05).needed == 5001
